// Programs whose code was compressed or encrypted after they were linked.
// A packer is no proof of harm: installers and a few games use them too. Hence no severity above medium.

import "elf"
import "math"
import "pe"

private rule native_elf
{
    condition:
        uint32be(0) == 0x7f454c46
}

private rule native_pe
{
    condition:
        uint16(0) == 0x5a4d and uint32(uint32(0x3c)) == 0x00004550
}

rule packer_upx_elf : packer elf
{
    meta:
        author = "Dragnet"
        description = "ELF program packed with UPX: its loader header follows the program headers"
        severity = "medium"
        reference = "https://upx.github.io"
    strings:
        // Magic, size of the loader, version and format: the fields UPX writes behind the program headers.
        $header = { 55 50 58 21 ?? ?? (0A | 0B | 0C | 0D | 0E) ?? }
    condition:
        native_elf and elf.number_of_sections == 0 and $header in (0..1024)
}

rule packer_upx_elf_disguised : packer elf
{
    meta:
        author = "Dragnet"
        description = "ELF program of UPX's shape whose UPX signature was removed, so that upx -d refuses it"
        severity = "high"
    strings:
        $magic = "UPX!"
    condition:
        native_elf and not $magic and filesize < 16MB
        and elf.number_of_sections == 0
        and elf.number_of_segments >= 2 and elf.number_of_segments <= 4
        and for any segment in elf.segments : (
            segment.type == elf.PT_LOAD and (segment.flags & elf.PF_X) != 0
            and segment.file_size > 16KB and math.entropy(segment.offset, segment.file_size) > 7.6
        )
}

rule packer_upx_pe : packer pe
{
    meta:
        author = "Dragnet"
        description = "Windows program packed with UPX: first section has no bytes in the file, second one holds them all"
        severity = "medium"
        reference = "https://upx.github.io"
    condition:
        native_pe and pe.number_of_sections >= 2
        and pe.sections[0].raw_data_size == 0 and pe.sections[0].virtual_size > 0
        and pe.sections[0].name == "UPX0" and pe.sections[1].name == "UPX1"
}

rule packer_section_name_pe : packer pe
{
    meta:
        author = "Dragnet"
        description = "Windows program with a section named by a known packer or protector"
        severity = "medium"
    condition:
        native_pe
        and for any section in pe.sections :
            (section.name matches /^\.?(aspack|adata|petite|vmp[0-2]|themida|winlice|mpress[12]|nsp[0-2]|enigma[12]|perplex|packed|taggant|boom)$/i)
}

// The 4 is SHF_EXECINSTR, written as a number because YARA-X has no name for it.
rule packer_dense_code_elf : packer elf entropy
{
    meta:
        author = "Dragnet"
        description = "ELF program with an executable section of 16 KiB or more that is as dense as encrypted data"
        severity = "medium"
    condition:
        native_elf and filesize < 16MB
        and for any section in elf.sections : (
            section.type == elf.SHT_PROGBITS and (section.flags & 4) != 0
            and section.size >= 16KB and section.offset + section.size <= filesize
            and math.entropy(section.offset, section.size) > 7.4
        )
}

rule packer_dense_data_elf : packer elf entropy
{
    meta:
        author = "Dragnet"
        description = "ELF program with a read-only data section of 64 KiB or more that is as dense as compressed data"
        severity = "info"
    condition:
        native_elf and filesize < 16MB
        and for any section in elf.sections : (
            section.name == ".rodata" and section.size >= 64KB
            and section.offset + section.size <= filesize
            and math.entropy(section.offset, section.size) > 7.2
        )
}

rule packer_dense_section_pe : packer pe entropy
{
    meta:
        author = "Dragnet"
        description = "Windows program with a code section, or a writable one, that is as dense as encrypted data"
        severity = "medium"
    condition:
        native_pe and filesize < 16MB
        and for any section in pe.sections : (
            section.raw_data_size >= 8KB
            and ((section.characteristics & pe.SECTION_CNT_CODE) != 0 or (section.characteristics & pe.SECTION_MEM_WRITE) != 0)
            and math.entropy(section.raw_data_offset, section.raw_data_size) > 7.3
        )
}

rule packed_program : summary
{
    meta:
        author = "Dragnet"
        description = "At least one packer rule of this file fired that looks at code"
        severity = "low"
    condition:
        any of (packer_upx_elf, packer_upx_elf_disguised, packer_upx_pe, packer_section_name_pe,
                packer_dense_code_elf, packer_dense_section_pe)
}
