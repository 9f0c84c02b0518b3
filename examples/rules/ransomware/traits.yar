// Notes that demand a ransom, files that look encrypted, and programs that make both.

import "hash"
import "math"

rule ransom_note : ransomware note
{
    meta:
        author = "Dragnet"
        description = "Text that says files were encrypted, asks for payment and says how to get in touch"
        severity = "high"
    strings:
        $state_1 = /(all|your)[ a-z,]{0,40}(files|documents|data|databases)[ a-z,]{0,40}(have been|has been|are|were)[ a-z]{0,12}(encrypted|locked)/ nocase ascii wide
        $state_2 = "your network has been" nocase ascii wide
        $state_3 = "files are no longer accessible" nocase ascii wide
        $pay_1 = "bitcoin" nocase ascii wide
        $pay_2 = "monero" nocase ascii wide
        $pay_3 = "decryptor" nocase ascii wide
        $pay_4 = "decryption key" nocase ascii wide
        $pay_5 = "ransom" nocase ascii wide
        $contact_1 = /[a-z2-7]{56}\.onion/ ascii wide
        $contact_2 = "Tor Browser" nocase ascii wide
        $contact_3 = /@(proton\.me|protonmail\.com|tutanota\.com|onionmail\.org|cock\.li)/ nocase ascii wide
        $contact_4 = "personal id" nocase ascii wide
    condition:
        filesize < 256KB and any of ($state_*) and any of ($pay_*) and any of ($contact_*)
}

rule ransom_note_by_name : ransomware note
{
    meta:
        author = "Dragnet"
        description = "Small text named as ransom notes are, with a word about payment or decryption"
        severity = "medium"
    strings:
        $word_1 = "decrypt" nocase ascii wide
        $word_2 = "bitcoin" nocase ascii wide
        $word_3 = ".onion" nocase ascii wide
    condition:
        file_size < 64KB and any of them
        and filename matches /^[!_#]{0,4}(how|readme|read_me|restore|recover|decrypt)[ _\-]?(to|for|your|my|me|files)?[ _\-]?(decrypt|restore|recover|unlock|files|back)[a-z_ \-]{0,20}\.(txt|html?|hta)$/i
}

rule ransom_encrypted_document : ransomware entropy
{
    meta:
        author = "Dragnet"
        description = "Document or picture by its name, with neither the first bytes of one nor any order in its content"
        severity = "high"
    condition:
        extension matches /^\.(docx?|xlsx?|pptx?|pdf|jpe?g|png|odt|ods)$/
        and filesize > 4KB and filesize < 16MB
        and uint32be(0) != 0x504b0304 and uint32be(0) != 0x25504446 and uint32be(0) != 0x89504e47
        and uint32be(0) != 0xd0cf11e0 and uint16be(0) != 0xffd8 and uint16be(0) != 0x1f8b and uint32be(0) != 0x52494646
        and math.entropy(0, 4096) > 7.8
        and math.in_range(math.mean(0, filesize), 126.0, 129.0)
}

rule ransom_added_extension : ransomware
{
    meta:
        author = "Dragnet"
        description = "Dense file with a second extension that says it was locked or encrypted"
        severity = "high"
    condition:
        filename matches /\.[a-z0-9]{2,5}\.(locked|encrypted|crypted|crypt|enc|lock)$/i
        and filesize > 1KB and math.entropy(0, 1024) > 7.5
}

rule ransom_deletes_backups : ransomware windows
{
    meta:
        author = "Dragnet"
        description = "Program or script that deletes Windows' shadow copies or switches its recovery off"
        severity = "high"
    strings:
        $shadow_1 = /vssadmin(\.exe)?[ \t]{1,4}delete[ \t]{1,4}shadows/ nocase ascii wide
        $shadow_2 = /wmic(\.exe)?[ \t]{1,4}shadowcopy[ \t]{1,4}delete/ nocase ascii wide
        $recovery = /bcdedit(\.exe)?[^\n\x00]{0,40}recoveryenabled[ \t]{1,4}no/ nocase ascii wide
        $catalogue = /wbadmin(\.exe)?[ \t]{1,4}delete[ \t]{1,4}catalog/ nocase ascii wide
        $hidden = "delete shadows" xor(0x01-0x1f)
    condition:
        filesize < 32MB and any of them
}

rule ransom_stops_machines : ransomware linux
{
    meta:
        author = "Dragnet"
        description = "ELF program or script that ends all virtual machines of a host and knows where their disks lie"
        severity = "high"
    strings:
        $stop_1 = "esxcli vm process kill" nocase
        $stop_2 = "vim-cmd vmsvc/power.off" nocase
        $stop_3 = /virsh[ \t]{1,4}(destroy|shutdown)[ \t]{1,4}["']?[$%]/
        $disk_1 = "/vmfs/volumes"
        $disk_2 = ".vmdk" fullword
        $disk_3 = "/var/lib/libvirt/images"
        $encrypt_1 = "chacha20" nocase
        $encrypt_2 = "encrypted" nocase
    condition:
        filesize < 16MB and any of ($stop_*) and any of ($disk_*) and any of ($encrypt_*)
}

rule ransom_repeated_block : ransomware entropy
{
    meta:
        author = "Dragnet"
        description = "Dense file whose first and second 4 KiB are equal: encrypted by a stream that was started anew for each block"
        severity = "medium"
    condition:
        filesize > 16KB and filesize < 16MB and uint32be(0) == uint32be(4096) and uint32be(4) == uint32be(4100)
        and math.entropy(0, 4096) > 7.6
        and hash.sha256(0, 4096) == hash.sha256(4096, 4096)
}
