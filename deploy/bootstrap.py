"""Make .venv and install the pinned requirements: `python3 deploy/bootstrap.py prod|base|dev`.

Runs on a bare machine, so it uses the standard library alone, and must at least start on an old Python to say that it
is too old. Does nothing when what is wanted is installed already. Where ensurepip is missing (Debian and Ubuntu keep it
in a package of its own) root gets that package, and everybody else pip's own wheel from the index that pip is
configured for.
"""

from __future__ import annotations

import configparser
import contextlib
import hashlib
import html.parser
import importlib.util
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "installed"
PYTHON = VENV / "bin" / "python"
OLDEST = (3, 11)
#: In which installations each is: dev holds all of base, base all of prod.
KINDS = {"prod": {"prod", "base", "dev"}, "base": {"base", "dev"}, "dev": {"dev"}}
#: Seconds for one answer of the index.
PATIENCE = 60
#: Seconds that what we run gets to end when we are told to stop.
STOP_GRACE = 5.0


class Impossible(Exception):
    """The environment cannot be made; the text is one line that says what to do."""


def main(kind: str) -> int:
    """Make the environment; return the exit status."""
    signal.signal(signal.SIGTERM, interrupt)
    try:
        find_python()
        wanted = digest(kind)
        if installed() in [digest(enough) for enough in KINDS[kind]]:
            return 0
        make_environment()
        say(f"installing {kind} requirements into {VENV}")
        pip("install", "-qq", "-r", str(ROOT / "requirements" / f"{kind}.txt"))
        STAMP.write_text(wanted, encoding="ascii")
    except Impossible as fault:
        say(str(fault))
        return 1
    except KeyboardInterrupt:
        say("stopped; the next start begins the installation anew")
        return 128 + signal.SIGINT
    return 0


def interrupt(_number: int, _frame: FrameType | None) -> None:
    """Let SIGTERM end us as Ctrl-C does."""
    raise KeyboardInterrupt


def say(line: str) -> None:
    """Tell the user something."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def find_python() -> None:
    """Go on under a Python that is new enough, when this one is not."""
    if sys.version_info >= OLDEST:
        return
    for name in ("python3.13", "python3.12", "python3.11"):
        program = shutil.which(name)
        if program:
            os.execv(program, [program, *sys.argv])  # noqa: S606
    wanted = ".".join(map(str, OLDEST))
    raise Impossible(f"Python {wanted} or newer is needed, and {sys.executable} is {sys.version.split()[0]}")


def digest(kind: str) -> str:
    """Return what stands for an installation: its requirements, and the Python it is for."""
    text = (ROOT / "requirements" / f"{kind}.txt").read_bytes()
    return hashlib.sha256(text + repr((sys.version, os.path.realpath(sys.executable))).encode()).hexdigest()


def installed() -> str | None:
    """Return what stands for the installation that is there; None: there is none that works."""
    try:
        return STAMP.read_text(encoding="ascii") if PYTHON.exists() else None
    except FileNotFoundError:
        return None


def make_environment() -> None:
    """Make .venv with pip in it; one that was cut off, or is of another Python, is made anew."""
    # pip takes a package that it was stopped in for a whole one
    finished = installed() is not None
    STAMP.unlink(missing_ok=True)
    if finished and works("-m", "pip", "--version") and python_of_environment() == sys.version:
        return
    shutil.rmtree(VENV, ignore_errors=True)
    if not has_ensurepip() and os.geteuid() == 0 and shutil.which("apt-get"):
        install_venv_package()
    if has_ensurepip():
        run([sys.executable, "-m", "venv", str(VENV)])
        return
    run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    install_pip()


def works(*arguments: str) -> bool:
    """Whether the environment's Python runs something."""
    return subprocess.run([str(PYTHON), *arguments], capture_output=True, check=False).returncode == 0  # noqa: S603


def python_of_environment() -> str:
    """Return the version of the environment's Python, with its build."""
    code = "import sys; sys.stdout.write(sys.version)"
    return subprocess.run([str(PYTHON), "-c", code], capture_output=True, text=True, check=False).stdout  # noqa: S603


def has_ensurepip() -> bool:
    """Whether this Python can put pip into an environment by itself."""
    # asked of a new process: a package may have brought it since we started
    code = "import ensurepip, sys; sys.exit(not ensurepip.version())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0  # noqa: S603


def install_venv_package() -> None:
    """Install the package that ensurepip is in, where the distribution has one for this Python; says why not."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    say(f"installing python3-venv ({name})")
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends"]
    for command in (
        [*install, "python3-venv"],
        ["apt-get", "update", "-qq"],
        [*install, "python3-venv"],
        [*install, name],
    ):
        if has_ensurepip():
            return
        run_to_the_end(command)


def run_to_the_end(command: list[str]) -> None:
    """Run apt-get without its messages; when we are told to stop meanwhile, we do it afterwards.

    A package that is half installed would block every package to come.
    """
    told: list[int] = []
    before = {
        number: signal.signal(number, lambda heard, _frame: told.append(heard))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        subprocess.run(command, env=environment, capture_output=True, check=False, start_new_session=True)  # noqa: S603
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if told:
        raise KeyboardInterrupt


def install_pip() -> None:
    """Put pip into an environment that has none: by the pip of this Python, else from its wheel."""
    if importlib.util.find_spec("pip") is not None:
        done = subprocess.run(  # noqa: S603
            [sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-qq", "pip"],
            capture_output=True,
            check=False,
        )
        if done.returncode == 0 and works("-m", "pip", "--version"):
            return
    with tempfile.TemporaryDirectory() as directory:
        wheel = fetch_pip_wheel(Path(directory))
        # a wheel is a zip, from which Python can run it
        run([str(PYTHON), f"{wheel}/pip", "install", "-qq", "--no-index", "--no-deps", str(wheel)])


def fetch_pip_wheel(directory: Path) -> Path:
    """Return the newest wheel of pip in a directory, from the places that pip is configured for."""
    links = [link for place in places() for link in links_of(place)]
    wheels = [link for link in links if version_of(link)]
    for link in sorted(wheels, key=version_of, reverse=True):
        with contextlib.suppress(urllib.error.URLError, OSError):
            return fetch_wheel(link, directory)
    package = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"
    raise Impossible(
        f"Python's ensurepip is missing, and no wheel of pip is found at {', '.join(map(shown, places()))}: "
        f"install the package python3-venv ({package})"
    )


def fetch_wheel(link: str, directory: Path) -> Path:
    """Return a wheel that was fetched, and is what its link promised."""
    address, fragment = urldefrag(link)
    content = fetch(address)
    algorithm, _, promised = fragment.partition("=")
    if promised and algorithm in hashlib.algorithms_available:
        found = hashlib.new(algorithm, content).hexdigest()
        if found != promised:
            raise Impossible(f"{shown(address)} is not what its index promised: {algorithm} {found}")
    wheel = directory / unquote(urlsplit(address).path).rpartition("/")[2]
    wheel.write_bytes(content)
    return wheel


def version_of(link: str) -> tuple[int, ...]:
    """Return the version of a final release of pip that a link leads to; () for every other link."""
    name = unquote(urlsplit(link).path).rpartition("/")[2]
    found = re.fullmatch(r"pip-(\d+(?:\.\d+)*)-py3-none-any\.whl|pip-(\d+(?:\.\d+)*)-py2\.py3-none-any\.whl", name)
    return tuple(map(int, (found[1] or found[2]).split("."))) if found else ()


class Links(html.parser.HTMLParser):
    """The links of a page, without those to files that this Python is too old for."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link."""
        given = dict(attrs)
        least = re.match(r">=\s*3\.(\d+)", given.get("data-requires-python") or "")
        if tag == "a" and given.get("href") and not (least and sys.version_info < (3, int(least[1]))):
            self.found.append(given["href"] or "")


def links_of(place: str) -> list[str]:
    """Return the links on a page, or to the files of a directory; none when it cannot be read."""
    path = Path(unquote(urlsplit(place).path)) if place.startswith("file:") else None
    if path is not None and path.is_dir() and not (path / "index.html").is_file():
        return [file.as_uri() for file in path.iterdir()]
    address = place if path is None or path.is_file() else (path / "index.html").as_uri()
    try:
        page = fetch(address).decode("utf-8", "replace")
    except (urllib.error.URLError, OSError):
        return []
    links = Links()
    links.feed(page)
    return [urljoin(address, link) for link in links.found]


def fetch(address: str) -> bytes:
    """Return what is at an address: http, https or file."""
    if urlsplit(address).scheme not in ("http", "https", "file"):
        raise urllib.error.URLError("not an address that we fetch from")
    # a login in the address goes into a header: urllib does not do that by itself
    parts = urlsplit(address)
    handlers: list[urllib.request.BaseHandler] = [urllib.request.HTTPSHandler(context=tls_context())]
    if parts.username:
        passwords = urllib.request.HTTPPasswordMgrWithPriorAuth()
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        login = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, bare, *login, is_authenticated=True)
        handlers.append(urllib.request.HTTPBasicAuthHandler(passwords))
        address = bare
    request = urllib.request.Request(address, headers={"Accept": "text/html, */*"})  # noqa: S310
    with urllib.request.build_opener(*handlers).open(request, timeout=PATIENCE) as answer:
        content: bytes = answer.read()
    return content


def tls_context() -> ssl.SSLContext:
    """Return what pip trusts."""
    bundle = configured("cert")
    return ssl.create_default_context(cafile=bundle[0] if bundle else None)


def places() -> list[str]:
    """Return the pages where pip would look for itself, in its order."""
    indexes = [*(configured("index-url")[:1] or ["https://pypi.org/simple"]), *configured("extra-index-url")]
    if os.environ.get("PIP_NO_INDEX", "").lower() in ("1", "true", "yes") or configured("no-index") == ["true"]:
        indexes = []
    pages = [f"{index.rstrip('/')}/pip/" for index in indexes]
    return [*pages, *(link if "://" in link else Path(link).absolute().as_uri() for link in configured("find-links"))]


def configured(name: str) -> list[str]:
    """Return what pip's environment, else its files, say of an option; the most particular file wins."""
    given = os.environ.get(f"PIP_{name.upper().replace('-', '_')}")
    if given:
        return given.split()
    values: list[str] = []
    for file in configuration_files():
        parser = configparser.RawConfigParser()
        try:
            parser.read(file, encoding="utf-8")
        except configparser.Error:
            continue
        for section in ("global", "install"):
            if parser.has_option(section, name):
                values = parser.get(section, name).split()
    return values


def configuration_files() -> list[Path]:
    """Return pip's files, from the machine's to the user's to the one named in the environment."""
    machine = [Path(path) / "pip" / "pip.conf" for path in os.environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")]
    config = Path(os.environ.get("XDG_CONFIG_HOME", Path.home() / ".config"))
    user = [Path.home() / ".pip" / "pip.conf", config / "pip" / "pip.conf"]
    named = [Path(os.environ["PIP_CONFIG_FILE"])] if os.environ.get("PIP_CONFIG_FILE") else []
    return [*machine, Path("/etc/pip.conf"), *user, *named]


def shown(address: str) -> str:
    """Return an address without its login."""
    parts = urlsplit(address)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def pip(*arguments: str) -> None:
    """Run the environment's pip."""
    run([str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments])


def run(command: list[str]) -> None:
    """Run a command whose messages the user sees; raises Impossible when it fails."""
    # in a session of its own: Ctrl-C reaches us alone, and we end it with all that it started
    child = subprocess.Popen(command, start_new_session=True)  # noqa: S603
    try:
        status = child.wait()
    except BaseException:
        end(child)
        raise
    if status:
        raise Impossible(f"status {status}: {' '.join(command)}")


def end(child: subprocess.Popen[bytes]) -> None:
    """End a child and its session."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_GRACE)


if __name__ == "__main__":
    if sys.argv[1:] not in ([kind] for kind in KINDS):
        say(f"usage: python3 deploy/bootstrap.py {'|'.join(KINDS)}")
        sys.exit(2)
    sys.exit(main(sys.argv[1]))
