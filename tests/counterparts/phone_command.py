"""How does a person use the phone from a terminal?

Secrets come from a prompt without echo or from standard input, one a line, never from arguments or the
environment, where other users of the machine can read them.
"""

import sys
import unicodedata
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from tests.counterparts.phone import SLOT, Phone
from tests.counterparts.phone_account import Shown
from tests.counterparts.phone_keys import PhoneStore, StoreDamaged
from tests.counterparts.phone_line import NetworkFailure, NotRecognised, PhoneError, Refused
from tests.counterparts.phone_offline import OfflineTransaction
from tests.counterparts.phone_package import Package, WrongSecret, read_package
from tests.counterparts.phone_tlv import Malformed
from tests.counterparts.qr_image import NoQrCode, read_qr

FROM_STANDARD_INPUT = "-"
NOT_RECOGNISED = """The gateway did not recognise this phone (401): most likely the password was wrong.
If it was right, the keys are blocked, expired or replaced, or the clock of this machine is wrong."""

Store = Annotated[Path, typer.Option("--store", help="Where this phone keeps its keys.")]
Ca = Annotated[Path | None, typer.Option("--ca", exists=True, help="PEM file of the authority to trust.")]
FromStdin = Annotated[
    bool,
    typer.Option("--secrets-from-stdin", help="Read secrets from standard input, one a line; ask nothing."),
]
QrImage = Annotated[Path | None, typer.Option("--qr-image", exists=True, help="PNG or SVG of the QR code.")]
Transaction = Annotated[str, typer.Argument(help="The transaction's id, as `list` shows it.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask once more.")]
DEFAULT_STORE = Path.home() / ".countersign-phone"

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="A Countersign phone."
)


def main() -> None:
    """Run the command; whatever goes wrong ends in one plain sentence and exit code 1."""
    try:
        app()
    except NotRecognised:
        _stop(NOT_RECOGNISED)
    except Refused as error:
        _stop(f"The gateway refused: {visible(str(error))} ({visible(error.code)})")
    except NetworkFailure as error:
        _stop(f"No valid answer from the gateway: {visible(str(error))}. Try again.")
    except WrongSecret as error:
        _stop(f"The package cannot be opened: {error}. Is the activation code right?")
    except (PhoneError, StoreDamaged, Malformed, NoQrCode) as error:
        _stop(f"This did not work: {visible(str(error))}.")


@app.command()
def enrol(
    *,
    qr_image: QrImage = None,
    qr_text: Annotated[
        str | None,
        typer.Option("--qr-text", help="Only `-`: the QR code's text is asked for, or the first line."),
    ] = None,
    shared_secret: Annotated[
        bool, typer.Option("--shared-secret", help="The package opens with a secret used exactly as typed.")
    ] = False,
    store: Store = DEFAULT_STORE,
    ca: Ca = None,
    secrets_from_stdin: FromStdin = False,
) -> None:
    """Take the keys out of a QR code, make the phone's own, and register them."""
    place = PhoneStore(store)
    if place.exists(SLOT):
        raise PhoneError(f"{store} holds an account already")
    data = _package(qr_image, qr_text, secrets_from_stdin)
    package = Package.decode(data)
    word = None
    if package.secret is None:
        word = _secret("Secret" if shared_secret else "Activation code", secrets_from_stdin)
    password = _secret("New password for this phone", secrets_from_stdin, confirm=True)
    how: dict[str, Any] = {"secret" if shared_secret else "activation_code": word}
    with Phone.enrol(data, store=place, password=password, ca_pem=_pem(ca), **how) as phone:
        try:
            phone.register()
        except Refused:
            place.drop(SLOT)
            raise
        typer.echo(f"Registered with {visible(phone.account.issuer)} as {visible(phone.account.user)}.")
        typer.echo(f"The keys are valid until {phone.account.valid_until}.")


@app.command()
def register(*, store: Store = DEFAULT_STORE, ca: Ca = None, secrets_from_stdin: FromStdin = False) -> None:
    """Finish an enrolment whose last answer was lost."""
    with _open(store, ca, secrets_from_stdin) as phone:
        phone.register()
        typer.echo(f"Registered. The keys are valid until {phone.account.valid_until}.")


@app.command("list")
def list_pending(
    *, store: Store = DEFAULT_STORE, ca: Ca = None, secrets_from_stdin: FromStdin = False
) -> None:
    """What waits for an answer."""
    with _open(store, ca, secrets_from_stdin) as phone:
        found = phone.pending()
    for row in found:
        typer.echo(
            visible(f"{row['transaction']}  {row['title'] or row['media_type']}  until {row['expires']}")
        )
    if not found:
        typer.echo("Nothing is waiting.")


@app.command()
def show(
    transaction: Transaction,
    *,
    save: Annotated[Path | None, typer.Option("--save", help="Write the content to this new file.")] = None,
    store: Store = DEFAULT_STORE,
    ca: Ca = None,
    secrets_from_stdin: FromStdin = False,
) -> None:
    """Show one transaction with its content."""
    with _open(store, ca, secrets_from_stdin) as phone:
        shown = phone.show(transaction)
    _print(shown)
    if save is not None:
        _write(save, shown.content)


@app.command()
def approve(
    transaction: Transaction,
    *,
    yes: Yes = False,
    store: Store = DEFAULT_STORE,
    ca: Ca = None,
    secrets_from_stdin: FromStdin = False,
) -> None:
    """Show a transaction and approve it."""
    with _open(store, ca, secrets_from_stdin) as phone:
        shown = phone.show(transaction)
        _print(shown)
        _confirm("Approve this?", yes or secrets_from_stdin)
        typer.echo(f"Approved: {phone.approve(shown)['status']}.")


@app.command()
def decline(
    transaction: Transaction,
    *,
    yes: Yes = False,
    store: Store = DEFAULT_STORE,
    ca: Ca = None,
    secrets_from_stdin: FromStdin = False,
) -> None:
    """Show a transaction and decline it."""
    with _open(store, ca, secrets_from_stdin) as phone:
        shown = phone.show(transaction)
        _print(shown)
        _confirm("Decline this?", yes or secrets_from_stdin)
        typer.echo(f"Declined: {phone.decline(shown)['status']}.")


@app.command()
def code(
    transaction: Annotated[str | None, typer.Argument(help="The id; none with --qr-image.")] = None,
    *,
    qr_image: QrImage = None,
    store: Store = DEFAULT_STORE,
    ca: Ca = None,
    secrets_from_stdin: FromStdin = False,
) -> None:
    """Show a transaction and the short code that approves it. With --qr-image no network is used."""
    if (transaction is None) == (qr_image is None):
        raise PhoneError("give either a transaction or --qr-image")
    with _open(store, ca, secrets_from_stdin) as phone:
        if qr_image is not None:
            shown = phone.shown_offline(OfflineTransaction.from_qr(read_qr(qr_image.read_bytes())))
        else:
            shown = phone.show(str(transaction))
        _print(shown)
        typer.echo(f"Code: {phone.short_code(shown)}")


@app.command()
def renew(*, store: Store = DEFAULT_STORE, ca: Ca = None, secrets_from_stdin: FromStdin = False) -> None:
    """Exchange the keys for new ones, or finish an exchange that was interrupted."""
    password = _secret("Password", secrets_from_stdin)
    with Phone.open(PhoneStore(store), password, ca_pem=_pem(ca)) as phone:
        if not phone.resume_renewal(password):
            phone.renew(password)
        typer.echo(f"New keys, valid until {phone.account.valid_until}.")


def visible(text: str) -> str:
    """The text with every sign made visible that could move the cursor or turn the reading direction."""
    return "".join(
        sign
        if sign in "\n\t" or unicodedata.category(sign) not in ("Cc", "Cf", "Cs")
        else f"<U+{ord(sign):04X}>"
        for sign in text
    )


def _open(store: Path, ca: Path | None, from_stdin: bool) -> Phone:  # noqa: FBT001
    return Phone.open(PhoneStore(store), _secret("Password", from_stdin), ca_pem=_pem(ca))


def _package(image: Path | None, text: str | None, from_stdin: bool) -> bytes:  # noqa: FBT001
    if (image is None) == (text is None):
        raise PhoneError("give either --qr-image FILE or --qr-text -")
    if image is not None:
        return read_package(read_qr(image.read_bytes()))
    if text != FROM_STANDARD_INPUT:
        raise PhoneError("the text of a QR code opens an account: give `--qr-text -` and type it when asked")
    return read_package(_secret("Text of the QR code", from_stdin))


def _secret(name: str, from_stdin: bool, *, confirm: bool = False) -> str:  # noqa: FBT001
    if not from_stdin:
        return str(typer.prompt(name, hide_input=True, confirmation_prompt=confirm))
    line = sys.stdin.readline()
    if not line:
        raise PhoneError(f"standard input ended before the line with: {name}")
    return line.rstrip("\r\n")


def _pem(ca: Path | None) -> str | None:
    return None if ca is None else ca.read_text()


def _print(shown: Shown) -> None:
    typer.echo(f"Transaction {visible(shown.transaction)}, to be answered until {shown.expires}")
    if shown.title is not None:
        typer.echo(f"Title: {visible(shown.title)}")
    if shown.text is None:
        typer.echo(f"A document: {visible(shown.media_type)}, {len(shown.content)} bytes.")
        typer.echo(f"SHA-256: {shown.digest.hex()} (`show --save FILE` writes it to a file)")
    else:
        typer.echo(f"---\n{visible(shown.text)}\n---")


def _confirm(question: str, sure: bool) -> None:  # noqa: FBT001
    if not sure and not typer.confirm(question):
        raise PhoneError("nothing was sent")


def _write(path: Path, content: bytes) -> None:
    try:
        with path.open("xb") as file:
            file.write(content)
    except FileExistsError:
        raise PhoneError(f"{path} exists already and is left as it is") from None
    typer.echo(f"Written to {path}.")


def _stop(text: str) -> NoReturn:
    typer.echo(text, err=True)
    raise SystemExit(1)
