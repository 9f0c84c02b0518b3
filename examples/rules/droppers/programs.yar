// Programs inside other files: attached, encoded, or named so that nobody expects one.

import "pe"

rule program_inside_program : dropper pe
{
    meta:
        author = "Dragnet"
        description = "Windows program that holds a second Windows program, found by its DOS stub"
        severity = "low"
    strings:
        $stub = "!This program cannot be run in DOS mode."
    condition:
        uint16(0) == 0x5a4d and pe.is_pe and #stub > 1 and #stub < 64
        and for any i in (2..#stub) : (
            uint16(@stub[i] - 0x4d) == 0x5a4d
            and uint32(@stub[i] - 0x4d + uint32(@stub[i] - 0x4d + 0x3c)) == 0x00004550
        )
}

rule program_inside_elf : dropper elf pe
{
    meta:
        author = "Dragnet"
        description = "ELF program that holds a whole Windows program"
        severity = "medium"
    strings:
        $stub = "!This program cannot be run in DOS mode."
    condition:
        uint32be(0) == 0x7f454c46
        and for any i in (1..#stub) : (
            uint16(@stub[i] - 0x4d) == 0x5a4d
            and uint32(@stub[i] - 0x4d + uint32(@stub[i] - 0x4d + 0x3c)) == 0x00004550
        )
}

rule program_encoded : dropper obfuscation
{
    meta:
        author = "Dragnet"
        description = "Windows program hidden by base64 or by a one-byte xor"
        severity = "high"
    strings:
        $base64 = "This program cannot be run in DOS mode" base64 base64wide
        $xored = "This program cannot be run in DOS mode" xor(0x01-0xff)
        $reversed = "edom SOD ni nur eb tonnac margorp sihT"
    condition:
        any of them
}

rule program_double_extension : dropper pe
{
    meta:
        author = "Dragnet"
        description = "Windows program named like a document, such as invoice.pdf.exe"
        severity = "high"
    condition:
        uint16(0) == 0x5a4d and filename matches /\.(pdf|docx?|xlsx?|pptx?|jpe?g|png|txt|html?)[ _]{0,40}\.(exe|scr|com|pif)$/i
}

rule program_injects_code : injection pe
{
    meta:
        author = "Dragnet"
        description = "Windows program that imports all it takes to start code inside another process"
        severity = "medium"
    condition:
        pe.is_pe and pe.number_of_sections > 0
        and pe.imports("kernel32.dll", "VirtualAllocEx")
        and pe.imports("kernel32.dll", "WriteProcessMemory")
        and (pe.imports("kernel32.dll", "CreateRemoteThread") or pe.imports("kernel32.dll", "QueueUserAPC")
             or pe.imports("kernel32.dll", "SetThreadContext"))
}

rule program_windows : pe inventory
{
    meta:
        author = "Dragnet"
        description = "Windows program or library; on a Linux machine most come with packaging tools"
        severity = "info"
    condition:
        pe.is_pe and pe.number_of_sections > 0
}
