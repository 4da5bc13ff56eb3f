"""A guest of 190 bytes that shows whether an accelerator can run guests here.

``/dev/kvm`` may open, create a VM and a processor, and still be unable to run a stock kernel (nested set-ups
without help from the hardware). So this does what a kernel does first: it goes through the firmware into
protected mode, sets up paging, enters long mode, uses SSE and locked instructions, and only then tells
success through the port of QEMU's ``isa-debug-exit``::

    start:  mov  $0x3000, %edi ; xor %eax, %eax ; mov $0xc00, %ecx ; cld ; rep stosl   # three empty tables
            movl $0x4003, 0x3000 ; movl $0x5003, 0x4000 ; movl $0x83, 0x5000           # 2 MiB, identity
            mov  $0x3000, %eax ; mov %eax, %cr3
            mov  %cr4, %eax ; or $0x620, %eax ; mov %eax, %cr4                         # PAE, SSE
            mov  $0xc0000080, %ecx ; rdmsr ; or $0x100, %eax ; wrmsr                   # EFER.LME
            mov  %cr0, %eax ; and $~4, %eax ; or $0x80000003, %eax ; mov %eax, %cr0
            lgdt gdtr ; ljmp $8, $long
    long:   xor  %eax, %eax ; cpuid ; pxor %xmm0, %xmm0 ; movdqu %xmm0, 0x2000
            mov  $1000, %ecx
    1:      lock incq 0x2000 ; loop 1b
            cmpq $1000, 0x2000 ; jne 2f
            mov  $0xf4, %dx ; mov $0x2a, %al ; out %al, %dx
    2:      hlt ; jmp 2b
"""

from __future__ import annotations

import struct

EXIT_PORT = 0xF4
# isa-debug-exit ends QEMU with twice the value written, plus one.
SUCCESS = 0x2A << 1 | 1
_BASE = 0x100000
_CODE = bytes.fromhex(
    "bf0030000031c0b9000c0000fcf3abc7050030000003400000c7050040000003500000c7050050000083000000b8003000000f"
    "22d80f20e00d200600000f22e0b9800000c00f320d000100000f300f20c083e0fb0d030000800f22c00f0115b8001000ea6a00"
    "1000080031c00fa2660fefc0f30f7f042500200000b9e8030000f048ff042500200000e2f548813c2500200000e80300007507"
    "66baf400b02aeef4ebfd0f1f4400000000000000000000ffff0000009aaf000f00a8001000"
)


def elf() -> bytes:
    """The guest as a 32-bit ELF file with a PVH entry (XEN_ELFNOTE_PHYS32_ENTRY, 18)."""
    note = struct.pack("<III4sI", 4, 4, 18, b"Xen\0", _BASE)
    header_size, entry_size = 52, 32
    note_at = header_size + 2 * entry_size
    code_at = note_at + len(note)
    header = struct.pack(
        "<16sHHIIIIIHHHHHH",
        b"\x7fELF\x01\x01\x01",
        *(2, 3, 1, _BASE, header_size, 0, 0),  # executable, 386; program headers follow
        *(header_size, entry_size, 2, 0, 0, 0),
    )
    load = struct.pack("<8I", 1, code_at, _BASE, _BASE, len(_CODE), len(_CODE), 7, 1)
    notes = struct.pack("<8I", 4, note_at, 0, 0, len(note), len(note), 4, 4)
    return header + load + notes + note + _CODE
