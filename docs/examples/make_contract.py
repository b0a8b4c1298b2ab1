"""How was contract.pdf made? Run this file to make it again, byte for byte: `python3 docs/examples/make_contract.py`.

A PDF is text: numbered objects, a table of where each begins, and drawing instructions that place words on the page in
points, counted from its lower left corner. The fonts are two that every viewer has.
"""

# ruff: noqa: INP001  (a script, no package)

from pathlib import Path

WIDTH, HEIGHT, MARGIN = 595, 842, 72  # A4
INK, GREY, BLUE, PALE = "0.13 0.16 0.20", "0.42 0.46 0.52", "0.10 0.33 0.55", "0.93 0.95 0.97"
TERMS = [
    ("Lender", "Example Bank"),
    ("Borrower", "The customer who confirms this document"),
    ("Amount", "EUR 12,500.00"),
    ("Interest", "3.90 % a year, fixed until the end"),
    ("Term", "48 months, from the day of payment"),
    ("Instalment", "EUR 281.68, on the first of each month"),
]
CLAUSES = [
    ("1  Payment", "The lender pays the amount to the borrower's account within two working days after this"),
    ("", "agreement has been confirmed. Interest is counted from the day of payment."),
    ("2  Repayment", "The borrower repays in equal instalments. Early repayment is possible at any time and"),
    ("", "costs nothing; the interest that has not yet accrued falls away."),
    (
        "3  Withdrawal",
        "The borrower may withdraw from this agreement within fourteen days, without a reason.",
    ),
    (
        "4  Confirmation",
        "The borrower confirms on the phone. What is confirmed is this file, by its SHA-256:",
    ),
    ("", "whoever changes one byte of it has another document, and no confirmation of it."),
]


class Page:
    """Collects drawing instructions."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def text(self, x: int, y: int, words: str, *, size: int = 10, font: str = "F1", color: str = INK) -> None:
        """Write words in one line."""
        escaped = words.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
        self.lines.append(f"BT {color} rg /{font} {size} Tf {x} {y} Td ({escaped}) Tj ET")

    def box(self, x: int, y: int, width: int, height: int, color: str) -> None:
        """Fill a rectangle."""
        self.lines.append(f"{color} rg {x} {y} {width} {height} re f")

    def rule(self, x: int, y: int, width: int) -> None:
        """Draw a thin line."""
        self.lines.append(f"{GREY} RG 0.5 w {x} {y} m {x + width} {y} l S")


def draw() -> Page:
    """Draw the agreement."""
    page = Page()
    inner = WIDTH - 2 * MARGIN
    page.box(0, HEIGHT - 14, WIDTH, 14, BLUE)
    page.text(MARGIN, 762, "EXAMPLE BANK", font="F2", color=BLUE)
    page.text(MARGIN, 728, "Loan agreement", size=24, font="F2")
    page.text(MARGIN, 708, "A sample, for trying out Countersign. Nobody owes anybody anything.", color=GREY)
    for number, (name, value) in enumerate(TERMS):
        y = 664 - 24 * number
        if number % 2 == 0:
            page.box(MARGIN, y - 8, inner, 24, PALE)
        page.text(MARGIN + 10, y, name, font="F2")
        page.text(MARGIN + 120, y, value)
    y = 522
    for name, words in CLAUSES:
        y -= 26 if name else 14
        page.text(MARGIN, y, name, font="F2", size=9)
        page.text(MARGIN + 84, y, words, size=9)
    for x, who in ((MARGIN, "For the lender"), (MARGIN + inner // 2 + 10, "For the borrower")):
        page.rule(x, 250, inner // 2 - 10)
        page.text(x, 237, who, size=8, color=GREY)
    page.text(MARGIN + inner // 2 + 10, 258, "to be confirmed with Countersign", font="F3", color=BLUE)
    page.rule(MARGIN, 70, inner)
    page.text(MARGIN, 56, "Example Bank  |  Loan agreement, sample  |  page 1 of 1", size=8, color=GREY)
    return page


def pdf(page: Page) -> bytes:
    """Put the page into a file: objects, their offsets, and where to begin reading."""
    content = "\n".join(page.lines)
    fonts = ("Helvetica", "Helvetica-Bold", "Times-Italic")
    resources = " ".join(f"/F{number} {4 + number} 0 R" for number in range(1, len(fonts) + 1))
    box = f"[0 0 {WIDTH} {HEIGHT}]"
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /Lang (en) >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox {box} /Contents 4 0 R /Resources << /Font << {resources} >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        *(
            f"<< /Type /Font /Subtype /Type1 /BaseFont /{font} /Encoding /WinAnsiEncoding >>"
            for font in fonts
        ),
        "<< /Title (Loan agreement, sample) >>",
    ]
    out, offsets = "%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n"
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    trailer = (
        f"trailer\n<< /Size {size} /Root 1 0 R /Info {len(objects)} 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    )
    return f"{out}xref\n0 {size}\n0000000000 65535 f \n{table}{trailer}".encode("ascii")


if __name__ == "__main__":
    Path(__file__).with_name("contract.pdf").write_bytes(pdf(draw()))
