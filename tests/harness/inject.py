"""Makes a running thread do a system call that it never would: root traces it, sets its registers, steps once.

What comes back is the kernel's answer inside that thread's own sandbox. x86-64 only: registers have names there.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import time

SUPPORTED = platform.machine() == "x86_64" and os.geteuid() == 0
NUMBERS = {"openat": 257, "socket": 41, "connect": 42, "close": 3, "execve": 59, "ptrace": 101, "mount": 165, "io_uring_setup": 425,
           "unshare": 272, "getpid": 39, "tgkill": 234, "clone3": 435}

ATTACH, DETACH, SINGLESTEP, PEEKTEXT, POKEDATA, GETREGS, SETREGS = 16, 17, 9, 1, 5, 12, 13
WAIT_ALL = 0x40000000
SYSCALL_INSTRUCTION = 0x050F
NO_CALL = 2**64 - 1
REGISTERS = ("r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base ds es fs gs").split()


class Registers(ctypes.Structure):
    _fields_ = [(name, ctypes.c_ulonglong) for name in REGISTERS]


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


def _ptrace(request: int, thread: int, address=0, data=0) -> int:
    ctypes.set_errno(0)
    result = LIBC.ptrace(request, thread, address, data)
    if result == -1 and ctypes.get_errno():
        raise OSError(ctypes.get_errno(), f"ptrace {request} of {thread}: {os.strerror(ctypes.get_errno())}")
    return result


def _registers(thread: int) -> Registers:
    registers = Registers()
    _ptrace(GETREGS, thread, 0, ctypes.addressof(registers))
    return registers


def _write(thread: int, address: int, data: bytes) -> None:
    data += b"\0" * (-len(data) % 8)
    for offset in range(0, len(data), 8):
        _ptrace(POKEDATA, thread, address + offset, struct.unpack_from("<Q", data, offset)[0])


def _stop_in_a_wait(thread: int) -> Registers:
    """Stops the thread where it waits, right behind its own `syscall` instruction; one that is busy is let go and tried again."""
    for _ in range(500):
        _ptrace(ATTACH, thread)
        os.waitpid(thread, WAIT_ALL)
        registers = _registers(thread)
        if _ptrace(PEEKTEXT, thread, registers.rip - 2) & 0xFFFF == SYSCALL_INSTRUCTION:
            return registers
        _ptrace(DETACH, thread)
        time.sleep(0.01)
    raise AssertionError(f"thread {thread} never waits")


def _step(thread: int, before: Registers, name: str, arguments) -> int | signal.Signals:
    changed = Registers.from_buffer_copy(before)
    room, values = (before.rsp - 4096) & ~0xF, []
    for argument in arguments:
        if isinstance(argument, bytes):
            _write(thread, room, argument)
            values.append(room)
            room += (len(argument) + 16) & ~0xF
        else:
            values.append(argument)
    for register, value in zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), values):
        setattr(changed, register, value % 2**64)
    changed.rip, changed.rax, changed.orig_rax = before.rip - 2, NUMBERS[name], NO_CALL
    _ptrace(SETREGS, thread, 0, ctypes.addressof(changed))
    _ptrace(SINGLESTEP, thread)
    _, status = os.waitpid(thread, WAIT_ALL)
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status))
    result = ctypes.c_longlong(_registers(thread).rax).value
    # A wait that was broken off is begun anew by whoever waits: EINTR, and no restart by the kernel.
    before.orig_rax, before.rax = NO_CALL, -errno.EINTR % 2**64
    _ptrace(SETREGS, thread, 0, ctypes.addressof(before))
    _ptrace(DETACH, thread)
    return result


def call(thread: int, name: str, *arguments) -> int | signal.Signals:
    """The result (negative: an errno) of the call in that thread, which then goes on; or the signal that killed its process.

    Arguments are numbers, or bytes that the thread finds in its memory.
    """
    return _step(thread, _stop_in_a_wait(thread), name, arguments)
