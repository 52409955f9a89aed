"""docs/versioning.md: a new rule enters as preview. The first release had nobody to preview its rules for."""

from __future__ import annotations

from importlib.metadata import entry_points

FIRST_RELEASE = frozenset(
    """
    QA0901 QA0902 QA0903 QA0904 QA0905 QA0906 QA0907
    QA1101 QA1102 QA1103 QA1104 QA1105 QA1106 QA1107 QA1108 QA1109 QA1110 QA1111 QA1112 QA1113 QA1114
    QA1115 QA1116 QA1117 QA1118 QA1119 QA1120 QA1121 QA1122 QA1123 QA1124 QA1125 QA1126 QA1127 QA1128
    QA1129 QA1130 QA1131
    QA1201 QA1202 QA1203 QA1204 QA1205 QA1206 QA1207 QA1208 QA1209 QA1210 QA1211 QA1212 QA1213 QA1214
    QA1215 QA1216 QA1217 QA1218 QA1219 QA1220 QA1221
    QA1301 QA1302 QA1303 QA1304 QA1305 QA1306 QA1307 QA1308 QA1309 QA1310 QA1311 QA1312 QA1313 QA1314
    QA1315 QA1316 QA1317 QA1318 QA1319 QA1320 QA1321
    QA1401 QA1402 QA1403 QA1404 QA1405 QA1406 QA1407 QA1408 QA1409 QA1410 QA1411 QA1412 QA1413
    QA1501 QA1502 QA1503 QA1504 QA1505 QA1506 QA1507 QA1508
    QA1601 QA1602 QA1603 QA1604 QA1605 QA1606 QA1607 QA1608 QA1609 QA1610 QA1611 QA1612 QA1613
    QA1701 QA1702 QA1703 QA1704 QA1705 QA1706 QA1707 QA1708 QA1709 QA1710 QA1711 QA1712
    """.split()  # noqa: SIM905
)
"""The rules of 0.1.0. A minor version that makes a later one stable adds it here."""


def rules() -> dict[str, bool]:
    """Every rule of the package: code to whether it is a preview."""
    sections = [
        entry.load() for entry in entry_points(group="qalint.rules") if entry.module.startswith("qalint_")
    ]
    return {rule.code: rule.preview for section in sections for rule in section.rules}


def test_a_rule_that_is_new_is_a_preview() -> None:
    assert [code for code, preview in rules().items() if code not in FIRST_RELEASE and not preview] == []


def test_a_rule_that_was_released_is_never_lost() -> None:
    former = {
        old
        for entry in entry_points(group="qalint.rules")
        for rule in entry.load().rules
        for old in rule.former
    }
    assert FIRST_RELEASE - rules().keys() <= former
