"""Why a file or a number was not taken, in words."""

from __future__ import annotations

from protei_bulk.channels.portal.visit import Visit


def file_reason(visit: Visit, code: str, detail: str = "") -> str:
    """Of campaigns/tables.py, workbook.py and gathering.py."""
    _ = visit._
    texts = {
        "NOT_A_TABLE": _("This is not a table of text or an XLSX file. Save it as CSV or XLSX and upload that."),
        "EMPTY_FILE": _("There is nothing in this file."),
        "BROKEN_XLSX": _("This XLSX file is damaged. Open it in your spreadsheet program, save it again and upload that."),
        "ENCRYPTED": _("This file is protected by a password. Save it without one and upload that."),
        "ZIP_BOMB": _("This XLSX file is refused: it would become far larger than it looks."),
        "TOO_LARGE_UNPACKED": _("This XLSX file would become too large. Save it as CSV and upload that."),
        "TOO_MANY_CELLS": _("This XLSX file has too many cells. Save it as CSV, with the columns that you need."),
        "TOO_MANY_COLUMNS": _("This file has too many columns. Keep those that you need."),
        "TOO_MANY_ROWS": _("There are more rows than one campaign may have."),
        "LINE_TOO_LONG": _("Line %(line)s is far too long for a table.", line=detail),
        "CELL_TOO_LONG": _("A cell in line %(line)s is far too long.", line=detail),
        "QUOTE_NOT_CLOSED": _("A quotation mark that begins in line %(line)s is never closed.", line=detail),
        "NO_SUCH_SHEET": _("The file has no such sheet."),
        "UPLOAD_GONE": _("The file is not there any more. Upload it again."),
        "TOO_MUCH": _("Reading this took too much memory or time. Divide the file, or save it as CSV."),
        "TOO_MANY_UPLOADS": _("You have too many files here already. Take one away first."),
        "FILE_TOO_LARGE": _("The file is larger than %(most)s MB.", most=detail),
        "INCOMPLETE": _("Some of the file is missing. Upload it again."),
    }  # fmt: skip
    kinds = {"OLD_EXCEL": _("This is an old Excel file. Save it as XLSX or CSV and upload that.")}
    return kinds.get(detail) or texts.get(code) or _("The file could not be read. Please try again.")


def number_reason(visit: Visit, code: str) -> str:
    """Of campaigns/gather.py and of what refuses a message."""
    _ = visit._
    texts = {
        "DUPLICATE": _("Twice in the recipients"),
        "OPTED_OUT": _("Opted out"),
        "BLACKLISTED": _("On the blacklist"),
        "NOT_A_NUMBER": _("Not a number"),
        "EMPTY": _("No number"),
        "TOO_SHORT": _("Too short"),
        "TOO_LONG": _("Too long"),
        "NOT_IN_USE": _("No such number"),
        "SCIENTIFIC": _("Rounded by a spreadsheet (like 9.62788E+11)"),
        "COUNTRY_NOT_ALLOWED": _("Country not allowed"),
        "MISSING_VARIABLE": _("A variable has no value"),
    }
    return texts.get(code) or code
