"""[guards]: what stops messages, whoever's they are."""

from __future__ import annotations

from typing import Annotated

from attrs import frozen

from protei_bulk.settings.rules import CountryCode, Number, OneOf, Text, Whole

Countries = tuple[Annotated[str, CountryCode()], ...]
Keywords = tuple[Annotated[str, Text(1, 40)], ...]
MODES = ("off", "alert", "pause")


@frozen
class VelocityGuard:
    """Artificially inflated traffic: see guards.velocity."""

    mode: Annotated[str, OneOf(MODES)] = "alert"
    seconds: Annotated[float, Number(10, 86_400)] = 600.0
    digits: Annotated[int, Whole(0, 9)] = 4  # at the end of a number, in which those of one range differ
    most: Annotated[int, Whole(1, 100_000_000)] = 2000  # messages of an account to one range within `seconds`
    new_country: Annotated[int, Whole(1, 100_000_000)] = 1000  # an hour, to a country it never sent to
    factor: Annotated[float, Number(1, 1_000_000)] = 10.0  # times the average hour of an account and country
    least: Annotated[int, Whole(1, 100_000_000)] = 1000  # an hour: less is never too much
    learn_hours: Annotated[int, Whole(0, 720)] = 24  # of an account's traffic, before its countries are looked at
    pause_minutes: Annotated[int, Whole(0, 525_600)] = 0  # 0: until it is released


@frozen
class Guards:
    """Countries: none allowed means all are."""

    allowed_countries: Countries = ()
    blocked_countries: Countries = ()
    stop_words: Keywords = ("STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "ايقاف", "الغاء")
    start_words: Keywords = ("START", "UNSTOP", "SUBSCRIBE", "اشتراك")
    opt_out_of: Annotated[str, OneOf(("customer", "sender"))] = "customer"  # what a STOP is about
    duplicates_remembered: Annotated[int, Whole(1000, 100_000_000)] = 1_000_000
    velocity: VelocityGuard = VelocityGuard()
