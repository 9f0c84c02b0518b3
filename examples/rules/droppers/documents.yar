// Documents that start something when they are opened.

rule document_pdf_starts_action : dropper pdf
{
    meta:
        author = "Dragnet"
        description = "PDF that starts a program, or runs a script as soon as it is opened"
        severity = "medium"
        reference = "https://opensource.adobe.com/dc-acrobat-sdk-docs/pdfstandards/PDF32000_2008.pdf"
    strings:
        $magic = "%PDF-"
        $launch = /\/S[ \t\r\n]{0,4}\/Launch\b/
        $open = "/OpenAction"
        $every = "/AA" fullword
        $script = /\/S[ \t\r\n]{0,4}\/J(ava|#61va)Script\b/
    condition:
        $magic in (0..1024) and ($launch or ($script and any of ($open, $every)))
}

rule document_pdf_carries_file : dropper pdf inventory
{
    meta:
        author = "Dragnet"
        description = "PDF with another file embedded"
        severity = "info"
    strings:
        $magic = "%PDF-"
        $embedded = /\/Type[ \t\r\n]{0,4}\/EmbeddedFile\b/
    condition:
        $magic in (0..1024) and $embedded
}

rule document_office_macro_starts : dropper office
{
    meta:
        author = "Dragnet"
        description = "Office document of the old format whose macro runs on opening and starts a process"
        severity = "high"
        reference = "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-cfb/"
    strings:
        $open_1 = "AutoOpen" nocase ascii wide
        $open_2 = "Document_Open" nocase ascii wide
        $open_3 = "Workbook_Open" nocase ascii wide
        $start_1 = "WScript.Shell" nocase ascii wide
        $start_2 = "CreateProcess" nocase ascii wide
        $start_3 = "Shell.Application" nocase ascii wide
        $start_4 = "powershell" nocase ascii wide
        $project = "_VBA_PROJECT" ascii wide
    condition:
        uint32be(0) == 0xd0cf11e0 and uint32be(4) == 0xa1b11ae1
        and $project and any of ($open_*) and any of ($start_*)
}

rule document_office_macro_inside : dropper office inventory
{
    meta:
        author = "Dragnet"
        description = "Office document of the new format that holds macros: vbaProject.bin is listed in its ZIP directory"
        severity = "low"
    strings:
        $entry = { 50 4B 01 02 [42] (77 6F 72 64 | 78 6C | 70 70 74) 2F 76 62 61 50 72 6F 6A 65 63 74 2E 62 69 6E }
    condition:
        uint32be(0) == 0x504b0304 and $entry
}

rule document_rich_text_object : dropper office
{
    meta:
        author = "Dragnet"
        description = "Rich text with an embedded object that updates itself, or with a program inside as hex text"
        severity = "high"
    strings:
        $object = "\\objdata" nocase
        $update = "\\objupdate" nocase
        $equation = "4571756174696f6e2e33" nocase
        $program = /4d5a[0-9a-f]{4}0[0-9a-f]000000/ nocase
    condition:
        uint32be(0) == 0x7b5c7274 and $object and any of ($update, $equation, $program)
}

rule document_shortcut_starts_script : dropper windows
{
    meta:
        author = "Dragnet"
        description = "Windows shortcut that starts a script interpreter"
        severity = "high"
        reference = "https://learn.microsoft.com/en-us/openspecs/windows_protocols/ms-shllink/"
    strings:
        $interpreter_1 = "powershell" nocase ascii wide
        $interpreter_2 = "mshta" nocase ascii wide
        $interpreter_3 = "wscript" nocase ascii wide
        $interpreter_4 = "cmd.exe" nocase ascii wide
    condition:
        uint32be(0) == 0x4c000000 and uint32be(4) == 0x01140200 and any of them
}
