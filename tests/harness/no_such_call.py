"""Becomes another program on what seems an older kernel: `no_such_call.py NUMBER COMMAND...` makes that system call ENOSYS for it.

A seccomp filter of five instructions, by prctl(2), so that seccomp(2) itself can be the missing one. x86-64 only.
"""

import ctypes
import errno
import os
import struct
import sys

SECCOMP, LANDLOCK_CREATE_RULESET = 317, 444
SET_NO_NEW_PRIVS, SET_SECCOMP, MODE_FILTER = 38, 22, 2
LOAD_NUMBER, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, ERRNO = 0x7FFF0000, 0x00050000


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p)]


def hide(number: int) -> None:
    instructions = b"".join(struct.pack("<HBBI", *one) for one in (
        (LOAD_NUMBER, 0, 0, 0), (JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.ENOSYS), (RETURN, 0, 0, ALLOW)))
    program, libc = Program(4, instructions), ctypes.CDLL(None, use_errno=True)
    # Root needs no no_new_privs for it, and keeps its rights without.
    if os.geteuid() != 0 and libc.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "no_new_privs")
    if libc.prctl(SET_SECCOMP, MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "a filter")


if __name__ == "__main__":
    hide(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])
