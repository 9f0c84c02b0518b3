// Properties of ELF files that linkers seldom produce, and a few that are only worth counting.
// Nothing here looks at instructions: every rule reads headers, so the set is cheap on large programs.

import "elf"

private rule elf_file
{
    condition:
        uint32be(0) == 0x7f454c46
}

private rule elf_loadable
{
    condition:
        elf_file and (elf.type == elf.ET_EXEC or elf.type == elf.ET_DYN) and elf.number_of_segments > 0
}

rule elf_static : elf inventory
{
    meta:
        author = "Dragnet"
        description = "Statically linked program: neither an interpreter nor a dynamic section"
        severity = "info"
    condition:
        elf_loadable and elf.type == elf.ET_EXEC
        and for all segment in elf.segments : (segment.type != elf.PT_INTERP and segment.type != elf.PT_DYNAMIC)
}

rule elf_small_static : elf
{
    meta:
        author = "Dragnet"
        description = "Statically linked program under 64 KiB: written without the C library, as loaders and implants are"
        severity = "medium"
    condition:
        elf_static and filesize < 64KB
}

rule elf_without_sections : elf
{
    meta:
        author = "Dragnet"
        description = "Program without section headers: they were stripped on purpose or never written"
        severity = "medium"
    condition:
        elf_loadable and elf.number_of_sections == 0
}

rule elf_writable_code : elf
{
    meta:
        author = "Dragnet"
        description = "Segment that is readable, writable and executable at once"
        severity = "medium"
    condition:
        elf_loadable and for any segment in elf.segments : (segment.type == elf.PT_LOAD and (segment.flags & 7) == 7)
}

rule elf_executable_stack : elf
{
    meta:
        author = "Dragnet"
        description = "Program that asks for an executable stack"
        severity = "low"
    condition:
        elf_loadable and for any segment in elf.segments : (segment.type == elf.PT_GNU_STACK and (segment.flags & elf.PF_X) != 0)
}

rule elf_unusual_interpreter : elf
{
    meta:
        author = "Dragnet"
        description = "Program whose dynamic linker does not live in /lib, /lib64 or /usr/lib"
        severity = "medium"
    strings:
        $usual = /\/(usr\/)?(lib|lib32|lib64|libx32)\/(ld[\-a-z]|x86_64-linux-gnu\/ld|aarch64-linux-gnu\/ld)/
    condition:
        elf_loadable and for any segment in elf.segments : (
            segment.type == elf.PT_INTERP and uint8(segment.offset) == 0x2f
            and not for any i in (1..#usual) : (@usual[i] == segment.offset)
        )
}

rule elf_entry_outside_code : elf
{
    meta:
        author = "Dragnet"
        description = "Program that starts outside of its executable segments"
        severity = "medium"
    condition:
        elf_loadable and elf.type == elf.ET_EXEC and defined elf.entry_point
        and not for any segment in elf.segments : (
            segment.type == elf.PT_LOAD and (segment.flags & elf.PF_X) != 0
            and elf.entry_point >= segment.offset and elf.entry_point < segment.offset + segment.file_size
        )
}

rule elf_data_after_sections : elf
{
    meta:
        author = "Dragnet"
        description = "ELF file with 64 KiB or more after its section headers and segments: something was attached"
        severity = "low"
    condition:
        elf_loadable and elf.number_of_sections > 0
        and elf.sh_offset + elf.number_of_sections * elf.sh_entry_size + 64KB < filesize
        and for all segment in elf.segments : (segment.offset + segment.file_size + 64KB < filesize)
        and for all section in elf.sections :
            (section.type == elf.SHT_NOBITS or section.offset + section.size + 64KB < filesize)
}

rule elf_many_dynamic_symbols : elf inventory
{
    meta:
        author = "Dragnet"
        description = "ELF file with more than 5000 dynamic symbols: a large library, or a program that exports all it has"
        severity = "info"
    condition:
        elf_loadable and elf.dynsym_entries > 5000
}

rule elf_debug_information : elf inventory
{
    meta:
        author = "Dragnet"
        description = "Program or library that still has its debugging information"
        severity = "info"
    condition:
        elf_loadable and for any section in elf.sections :
            (section.name == ".debug_info" and section.type == elf.SHT_PROGBITS and section.size > 0)
}

rule elf_library_path_from_origin : elf inventory
{
    meta:
        author = "Dragnet"
        description = "Program that looks for its libraries beside itself: whoever may write there chooses its code"
        severity = "info"
    strings:
        $origin = "$ORIGIN"
    condition:
        elf_loadable and $origin
        and for any entry in elf.dynamic : (entry.type == elf.DT_RPATH or entry.type == elf.DT_RUNPATH)
}

rule elf_library_path_in_temporary_folder : elf
{
    meta:
        author = "Dragnet"
        description = "Program that looks for its libraries in a folder everyone may write to"
        severity = "high"
    strings:
        $folder = /\x00(\/[a-z0-9_.\/\-]{1,80}:)?(\/tmp|\/var\/tmp|\/dev\/shm)(\/[A-Za-z0-9_.\/\-]{0,80})?(:|\x00)/
    condition:
        elf_loadable
        and for any entry in elf.dynamic : (
            (entry.type == elf.DT_RPATH or entry.type == elf.DT_RUNPATH)
            and for any section in elf.sections : (
                section.name == ".dynstr" and $folder in (section.offset + entry.val - 1..section.offset + entry.val - 1)
            )
        )
}

rule elf_under_false_name : elf
{
    meta:
        author = "Dragnet"
        description = "ELF program whose name says picture, document, archive or text"
        severity = "high"
    condition:
        elf_loadable and extension matches /^\.(jpe?g|png|gif|bmp|ico|pdf|docx?|xlsx?|txt|log|zip|gz|html?|css)$/
}

rule elf_hidden : elf
{
    meta:
        author = "Dragnet"
        description = "ELF program that is hidden by a leading dot, in its own name or in that of a temporary folder"
        severity = "medium"
    condition:
        elf_loadable and (filename matches /^\.[^.]/ or filepath matches /^\/(tmp|var\/tmp|dev\/shm)\/([^\/]+\/)*\.[^\/]+\//)
}
