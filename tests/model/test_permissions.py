"""The matrix of permissions, in the code and in the operator's guide."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from protei_bulk.model.account import Account
from protei_bulk.model.permissions import MATRIX, ROLES, Permission, Scope, scope_of

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "operator.md"
WORDS = {Scope.NONE: "–", Scope.OWN: "own", Scope.CUSTOMER: "customer", Scope.ALL: "all"}


class Matrix(SynchronousTestCase):
    def test_a_row_for_each(self) -> None:
        self.assertEqual(set(MATRIX), set(Permission))
        self.assertEqual({len(row) for row in MATRIX.values()}, {len(ROLES)})
        self.assertIs(scope_of("KING", Permission.SEND), Scope.NONE)

    def test_the_guide_says_the_same(self) -> None:
        text = GUIDE.read_text()
        for permission, row in MATRIX.items():
            line = f"| {permission.value} | {' | '.join(WORDS[scope] for scope in row)} |"
            self.assertIn(line, text)

    def test_channels(self) -> None:
        for role, sends in zip(ROLES, (True, True, True, False), strict=True):
            account = Account(1, "a", 1, role=role)
            self.assertEqual((account.may_send, account.may_smpp, account.may_http), (sends, sends, True))
