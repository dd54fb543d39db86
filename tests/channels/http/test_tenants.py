"""Every route of the API, as the router has them, walked by every role of two customers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.channels.http.exchange import ANYBODY, KEY, TOKEN
from protei_bulk.model.permissions import MATRIX, ROLES, Permission, Scope, scope_of
from tests.channels.http.house import PASSWORD
from tests.channels.http.walks import BULK, WALKS, WHO, Walks


class WalkTest(Walks):
    async def test_every_route_is_here(self) -> None:
        in_router = {
            f"{method} {rule.rule.replace('<number:', '<').replace('<', '{').replace('>', '}')}"
            for rule in self.node.channel.resource.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        self.assertEqual(in_router, set(WALKS))
        self.assertEqual(in_router, set(self.table))

    async def test_the_matrix_and_the_routes(self) -> None:
        self.assertEqual(set(MATRIX), set(Permission))
        self.assertEqual({route.permission for route in self.table.values()} - {None}, set(Permission))
        for route in self.table.values():  # who is asked for is asked what he may
            self.assertEqual(route.permission is None, route.auth == ANYBODY, route.name)

    async def test_walk(self) -> None:
        wrong = []
        for route, walk in WALKS.items():
            statuses = walk.statuses.split()
            self.assertEqual(len(statuses), len(WHO), route)
            for who, expected in zip(WHO, statuses, strict=True):
                answer = await self.ask(route, who, walk.make)
                if answer.status != int(expected):
                    wrong.append((route, who, expected, answer.status, answer.json))
                wrong += [(route, who, "reads", text) for text in self.foreign(who) if text in answer.unasked()]
        self.assertEqual(wrong, [])

    async def test_one_way_in_is_not_the_other(self) -> None:
        """No route that asks for a token takes a key or a password, and the other way round."""
        for route, walk in WALKS.items():
            method = route.split()[0]
            path, body = await walk.make(self)
            if self.table[route].auth == TOKEN:
                for given in ({"key": self.keys["root"]}, {"basic": ("root", PASSWORD)}):
                    self.assertEqual((await self.call(method, path, body, **given)).status, 401, route)  # type: ignore[arg-type]
            elif self.table[route].auth == KEY:
                self.assertEqual((await self.call(method, path, body, token=self.tokens["root"])).status, 401, route)

    async def test_channels_are_closed_by_bind_type_and_flags(self) -> None:
        basic = ("anna", PASSWORD)
        for values, balance, bulk in (
            ({"bind_type": "SMPP"}, 403, 403), ({"bind_type": "WEB_ONLY"}, 403, 403), ({"can_use_http": False}, 403, 403),
            ({"bind_type": "HTTP"}, 200, 200), ({"can_use_smpp": False}, 200, 200), ({"can_use_api_bulk": False}, 200, 403),
        ):  # fmt: skip
            defaults = {"bind_type": "BOTH", "can_use_http": True, "can_use_smpp": True, "can_use_api_bulk": True}
            await self.accounts.set_user("anna", {**defaults, **values})
            await self.heard()
            for given in ({"key": self.keys["anna"]}, {"basic": basic}):
                self.assertEqual((await self.call("GET", "/api/getBalance", **given)).status, balance, values)  # type: ignore[arg-type]
                self.assertEqual((await self.call("POST", "/api/sendBulk", BULK, **given)).status, bulk, values)  # type: ignore[arg-type]
            self.assertEqual((await self.login("anna")).status, 200)  # the web is open to all
            bind = await self.node.auth.authenticate_smpp(None, "anna", PASSWORD, "TRANSCEIVER", "127.0.0.1", 1)
            allowed = values.get("bind_type", "BOTH") in ("SMPP", "BOTH") and values.get("can_use_smpp", True)
            self.assertEqual(bind.success, allowed, values)


class MatrixTest(SynchronousTestCase):
    def test_roles(self) -> None:
        for permission in Permission:
            reach = [scope_of(role, permission) for role in ROLES]
            self.assertEqual(max(reach), reach[0], permission)  # nobody is above the platform's administrators
            self.assertNotIn(Scope.ALL, reach[1:], permission)
            self.assertIs(scope_of("KING", permission), Scope.NONE)
        for permission in (Permission.SEND, Permission.DISCONNECT, Permission.USERS_WRITE, Permission.CUSTOMERS_WRITE):
            self.assertIs(scope_of("VIEWER", permission), Scope.NONE)
