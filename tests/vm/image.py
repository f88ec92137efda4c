"""The disk image of the machines: Debian 12 with what README.md asks for, made once and kept.

    python -m tests.vm.image BACKEND      prints the image's path

Its name carries a hash of all that it is made from, so that a change here or of the kernel makes a new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from tests.lab.nodes import LabError

FILES = Path(__file__).with_name("guest")
REPOSITORY = Path(__file__).parents[2]
UML_MODULES = Path("/usr/lib/uml/modules")
SUITE = "bookworm"
RECIPE = 1
"""Raise it when `bootstrap` or `dress` change."""
SIZE = "4G"
"""Sparse: what is not used takes no room."""

SYSTEM = [
    "systemd-sysv", "udev", "dbus", "kmod", "openssh-server", "iproute2", "iputils-ping", "procps", "dmsetup", "psmisc",
    "ca-certificates", "less", "strace",
]
README_PACKAGES = [
    "postgresql-15", "python3-venv", "nfs-common", "nfs-kernel-server", "fence-agents", "ipmitool", "zstd", "lz4",
]
"""What README.md has one install; here with the image, for the machines reach no mirror."""
KERNELS = {"uml": [], "qemu": ["linux-image-amd64"]}
MASKED = [
    "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
    "man-db.timer", "dpkg-db-backup.timer", "logrotate.timer", "getty@tty1.service", "console-getty.service",
    "systemd-timesyncd.service", "rpc-gssd.service", "nfs-blkmap.service",
]


def cache() -> Path:
    """Where images, wheels and the labs' key are kept: PGVIP_VMLAB_CACHE, or /var/tmp/pgvip-vmlab."""
    return Path(os.environ.get("PGVIP_VMLAB_CACHE", "/var/tmp/pgvip-vmlab"))


def key_path() -> Path:
    """The private key that opens every machine; it is of use only inside of the labs' namespaces."""
    return cache() / "id_ed25519"


def image_path(backend: str) -> Path:
    """Where the image of this recipe is, or will be."""
    return cache() / f"image-{backend}-{recipe_hash(backend)}.ext4"


def recipe_hash(backend: str) -> str:
    """A name for all that the image is made from."""
    digest = hashlib.sha256(repr((RECIPE, SUITE, SIZE, SYSTEM, README_PACKAGES, KERNELS[backend], MASKED)).encode())
    for path in sorted(FILES.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(FILES)} {path.stat().st_mode:o}\0".encode() + path.read_bytes())
    digest.update(" ".join([backend, *uml_kernels()]).encode() if backend == "uml" else backend.encode())
    digest.update((key_path().with_suffix(".pub")).read_bytes() if key_path().exists() else b"")
    return digest.hexdigest()[:12]


def clean_old(backends: Iterable[str]) -> list[Path]:
    """Remove images of other recipes than the present ones; what was removed."""
    kept = {image_path(backend).stem for backend in backends}
    old = [path for path in cache().glob("image-*") if path.stem not in kept]
    for path in old:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return old


def uml_kernels() -> list[str]:
    """Versions of the installed User Mode Linux."""
    return sorted(path.name for path in UML_MODULES.glob("*"))


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def call(*words: object, timeout_s: float = 1800, quiet: bool = True) -> None:
    """Run a command; LabError with its last lines when it fails."""
    done = subprocess.run(
        [str(word) for word in words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=timeout_s, check=False,
    )
    if done.returncode:
        raise LabError(f"exit {done.returncode}: {' '.join(map(str, words))}\n{done.stdout[-4000:]}")


def ensure_key() -> None:
    """The key of the labs, made when there is none."""
    cache().mkdir(parents=True, exist_ok=True)
    if not key_path().exists():
        call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "vmlab", "-f", key_path())


def build(backend: str) -> Path:
    """The image, made unless it is there."""
    ensure_key()
    path = image_path(backend)
    if path.exists():
        return path
    work = Path(tempfile.mkdtemp(prefix="build-", dir=cache()))
    try:
        root = work / "root"
        bootstrap(root, backend)
        say("files, kernel modules")
        dress(root, backend)
        say("file system")
        raw = work / "image"
        call("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1,root_owner=0:0", "-L", "root", "-d", root, raw, SIZE)
        if backend == "qemu":
            boot = path.with_suffix(".boot")
            shutil.rmtree(boot, ignore_errors=True)
            shutil.copytree(root / "boot", boot, symlinks=True)
        raw.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"{path}: {path.stat().st_blocks * 512 // 1_000_000} MB on disk")
    return path


def bootstrap(root: Path, backend: str) -> None:
    """The packages, by mmdebstrap."""
    packages = [*SYSTEM, *README_PACKAGES, *KERNELS[backend]]
    say(f"mmdebstrap: {SUITE}, {len(packages)} packages and what they need")
    call(
        # mounts of its own, so that none outlives it
        "unshare", "--mount", "--propagation=private", "mmdebstrap", "--mode=root",
        "--variant=minbase", f"--include={','.join(packages)}", "--components=main",
        '--aptopt=Acquire::Languages "none"', "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
        SUITE, root,  # and mmdebstrap's own choice of mirrors, with updates and security
    )


def dress(root: Path, backend: str) -> None:
    """What makes it a machine of this lab."""
    call("cp", "-r", "--no-preserve=ownership", f"{FILES}/.", root)
    authorized = root / "root/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.copy(key_path().with_suffix(".pub"), authorized)
    authorized.chmod(0o600)
    (root / "etc/machine-id").write_text("")
    (root / "etc/fstab").write_text("# the root file system is named on the kernel's command line\n")
    (root / "etc/hostname").unlink(missing_ok=True)  # named on the kernel's command line
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    if backend == "uml":
        (root / "usr/lib/modules").mkdir(exist_ok=True)
        for version in uml_kernels():
            call("cp", "-r", UML_MODULES / version, root / "usr/lib/modules")
            call("chroot", root, "depmod", version)
    system = ["systemctl", f"--root={root}"]
    call(*system, "mask", *MASKED)
    call(*system, "enable", "systemd-networkd.service", "systemd-networkd-wait-online.service", "vmlab-disk.service")


def wheels() -> Path:
    """The libraries that pgvip needs, as wheels for the machines' Python, downloaded once."""
    lock = REPOSITORY / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes())
    path = cache() / f"wheels-{digest.hexdigest()[:12]}"
    if path.exists():
        return path
    say("wheels of pgvip's libraries")
    part = Path(tempfile.mkdtemp(prefix="wheels-", dir=cache()))
    try:
        call(
            sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:", "--python-version=3.11",
            "--implementation=cp", "--platform=manylinux2014_x86_64", "--platform=manylinux_2_28_x86_64",
            "--platform=manylinux_2_34_x86_64", "--dest", part, "--require-hashes", "-r", lock,
        )
        part.chmod(0o755)
        with contextlib.suppress(OSError):  # both machines ask at once: the other one was first
            part.rename(path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return path


if __name__ == "__main__":
    print(build(sys.argv[1] if len(sys.argv) > 1 else "uml"))
    print(wheels())
