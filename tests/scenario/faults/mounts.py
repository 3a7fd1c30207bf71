"""mounts.py -- file systems that only this process and its children see.
For a test file's last lines: before there are threads, or an ordinary user may not."""
import contextlib
import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER = 0x20000, 0x10000000
REC, PRIVATE, NOSUID, NODEV, DETACH = 0x4000, 0x40000, 2, 4, 2

why_not = "not asked for"  # "": mount() works


def _call(name, *words):
    if getattr(_libc, name)(*words):
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def _mount(what, where, kind, flags, options=None):
    _call("mount", what and what.encode(), where.encode(), kind and kind.encode(), ctypes.c_ulong(flags),
          options and options.encode())


def _be_the_same_user():
    """In a user namespace of our own: the same user and group, and nobody else."""
    user, group = os.getuid(), os.getgid()
    _call("unshare", NEWNS | NEWUSER)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as f:
            f.write(text)


def _keep_to_ourselves():
    """In a chroot / is no mount, but /dev is."""
    for where in ("/", "/dev"):
        with contextlib.suppress(OSError):
            return _mount("none", where, None, REC | PRIVATE)
    raise OSError("mounts cannot be made private")


def try_own():
    """From here on mounts are our own, where this machine permits that; else why_not says what it said."""
    global why_not
    try:
        if os.getuid() == 0:
            _call("unshare", NEWNS)
        else:
            _be_the_same_user()
        _keep_to_ourselves()
        why_not = ""
    except OSError as e:
        why_not = f"no mounts here: {e}"


def mount_tmpfs(where, size):
    _mount("tmpfs", where, "tmpfs", NOSUID | NODEV, f"size={size},mode=700")


def unmount(where):
    _call("umount2", where.encode(), DETACH)
