"""Which passwords are taken, after NIST SP 800-63B section 5.1.1.2: length, and none that everybody tries first.

No rules of composition and no expiry: they make passwords that are easier to guess.
"""

from __future__ import annotations

import re

SHORTEST, LONGEST = 8, 128  # characters

#: lower case; those that are too short, of one or two characters, or in sequence are refused anyway
_WORDS = """
password password1 password12 password123 password1234 password01 password! passw0rd p@ssw0rd p@ssword pa$$word
passwort motdepasse contrasena 1password mypassword newpassword changeme changeme1 changeit letmein1 letmein123
welcome1 welcome12 welcome123 welcome2024 welcome2025 welcome2026 iloveyou iloveyou1 iloveyou2 sunshine sunshine1
princess princess1 football football1 baseball baseball1 basketball superman superman1 batman123 spiderman pokemon1
starwars starwars1 dragon123 monkey123 master123 michael1 jennifer jessica1 charlie1 jordan23 trustno1 whatever
freedom1 computer computer1 internet internet1 samsung1 samsung123 google123 facebook facebook1 linkedin linkedin1
qwertyui qwertyuiop qwerty12 qwerty123 qwerty1234 qwerty12345 qwertz123 azertyui azerty123 asdfghjk asdfghjkl
asdfasdf zxcvbnm1 zxcvbnm123 1q2w3e4r 1q2w3e4r5t 1qaz2wsx 1qaz2wsx3edc qazwsxedc qaz12345 q1w2e3r4 q1w2e3r4t5
a1b2c3d4 abcd1234 abc12345 abc123456 abcdefg1 aa123456 aa12345678 1234qwer 123qweasd 123qwe123 12345qwert qwer1234
asdf1234 zxcv1234 zaq12wsx zaq1zaq1 !qaz2wsx passpass pass1234 pass12345 pass@123 pass@1234 admin123 admin1234
admin12345 admin@123 administrator administrator1 root1234 rootroot toor1234 test1234 test12345 testtest testing1
testing123 demo1234 demodemo guest123 user1234 username username1 operator operator1 support1 support123 service1
secret12 secret123 topsecret default1 default123 temp1234 temporary cisco123 oracle123 manager1 manager123 company1
company123 business1 summer2024 summer2025 summer2026 winter2024 winter2025 winter2026 spring2025 autumn2025
january1 february september october1 november december monday123 friday13 sunday123 love1234 lovelove ilovegod
jesus123 christ123 mohammed mohammad muhammad ahmed123 ahmad123 fatima123 alhamdulillah bismillah allah123 habibi123
habibi12 inshallah 1234567a 12345678a 123456789a 123456ab 11223344 112233445566 12341234 123123123 12121212 12344321
123454321 123654789 147258369 147852369 159753456 159357456 741852963 789456123 789456123a 963852741 987654321a
55555abc 19841984 19851985 19861986 19871987 19881988 19891989 19901990 19911991 20002000 20202020 20242024 20252025
20262026 01012000 liverpool liverpool1 chelsea1 chelsea123 arsenal1 arsenal123 barcelona barcelona1 realmadrid
juventus manchester chocolate chocolate1 butterfly butterfly1 elephant elephant1 hello123 hello1234 helloworld
hellohello goodluck goodmorning blink182 metallica nirvana1 slipknot eminem123 creative creative1 corvette mercedes
mercedes1 mustang1 ferrari1 porsche1 porsche911 yamaha123 toyota123 harley123 cheese123 cookie123 banana123
orange123 purple123 yellow123 flower123 angel123 angels123 lovely123 babygirl babygirl1 badboy123 bailey123
buster123 tigger123 maggie123 ginger123 pepper123 peanut123 hunter123 ranger123 killer123 thunder1 jordan123
taylor123 austin123 dallas123 phoenix1 midnight midnight1 snowball snowboard security security1 security123
sesame123 opensesame access14 access123 letmeinnow openopen nopassword nothing1 anything something smppclient
smppclient1 smsgateway telecom1 telecom123 bulksms1 bulksms123 kannel123 jasmin123
"""
_COMMON = frozenset(_WORDS.split())
_HOUSE = ("protei", "proteibulk", "bulk")


def fault(password: str, *names: str) -> str | None:
    """Why a password is not taken; None where it is. names: what somebody would try first: of the user, for one."""
    if len(password) < SHORTEST:
        return f"is shorter than {SHORTEST} characters"
    if len(password) > LONGEST or "\0" in password:
        return f"is longer than {LONGEST} characters, or holds U+0000"
    plain = password.casefold()
    steps = {ord(b) - ord(a) for a, b in zip(plain, plain[1:], strict=False)}
    if plain in _COMMON or len(set(plain)) <= 2 or steps in ({1}, {-1}) or plain in "01234567890" * 2:
        return "is one that everybody tries first"
    core = _letters(plain)
    if core and core in {*_HOUSE, *map(_letters, names)}:
        return "is hardly more than a name"
    return None


def _letters(text: str) -> str:
    return re.sub(r"[\W\d_]+", "", text.casefold())
