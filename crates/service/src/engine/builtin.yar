/*
 * The rules that are always there, with or without a rules folder.
 *
 * The EICAR test file as EICAR defines it: these 68 bytes at the start of the file, then nothing but
 * white space (space, tab, line feed, carriage return, Ctrl-Z), 128 bytes in all at most. Written in
 * hexadecimal so that no scanner takes this file for the test file itself.
 */
rule EICAR_Test_File {
    meta:
        description = "EICAR anti-malware test file"
    strings:
        $eicar = {
            58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34
            28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D
            53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56 49 52 55
            53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A
        }
    condition:
        filesize >= 68 and filesize <= 128 and $eicar at 0 and
        for all i in (68..127) : (
            i >= filesize or
            uint8(i) == 0x20 or uint8(i) == 0x09 or uint8(i) == 0x0A or
            uint8(i) == 0x0D or uint8(i) == 0x1A
        )
}
