//! The tables of `docs/changes.md` and `docs/kinds.md`: that the pages are current, that each test
//! they name exists, and that the driver's questions get the table's answers.
//!
//! `SILOSCAN_WRITE_DOCS=1` writes the pages instead of comparing them.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use siloscan_core::operation::{Effect, Seen, TABLE, of_class, of_control};

/// Kind of file or open, treatment, test.
const KINDS: [(&str, &str, &str); 35] = [
    (
        "named stream",
        "scanned at each open, never cached (`scan named-stream`)",
        "kinds_of_opens w15_named_streams_are_scanned_and_never_cached",
    ),
    (
        "hard link",
        "one file, one key",
        "kinds_of_opens hard_links_are_one_file",
    ),
    (
        "symbolic link, junction",
        "the first pass is a named ignore (`ignore reparse`); scanned where it leads",
        "kinds_of_opens reparse_points_are_scanned_where_they_lead",
    ),
    (
        "another case of the name",
        "one file, one key: no name is compared",
        "kinds_of_opens another_case_of_the_name_is_the_same_file",
    ),
    (
        "8.3 name",
        "one file, one key, as a hard link; to set one changes nothing",
        "short_names a_short_name_is_the_same_file",
    ),
    (
        "named stream behind an 8.3 name",
        "as any named stream (`scan named-stream`)",
        "short_names a_stream_behind_a_short_name_is_a_named_stream",
    ),
    (
        "package file by its 8.3 name, from a container",
        "the layer's key, as by the long name",
        "short_names containers_that_use_short_names_share_the_layers_verdict",
    ),
    (
        "encrypted file",
        "scanned as plain text, through the file object of an opener who has the key; to encrypt \
         or decrypt changes no byte that an opener reads",
        "kinds_of_opens an_encrypted_file_is_scanned_through_the_opener_who_has_the_key",
    ),
    (
        "open in a transaction",
        "scanned at each open, never cached, joined by nobody (`scan transaction`)",
        "transactions i2_what_is_seen_in_a_transaction_is_shared_with_nobody",
    ),
    (
        "open for reading in a transaction",
        "sees what was committed by then: as any open in a transaction, and its verdict is its own",
        "transacted_names \
         i1_a_reader_that_keeps_the_old_bytes_over_a_commit_keeps_their_verdict_to_itself",
    ),
    (
        "open by id",
        "as by name; the stream is proven unnamed by one query",
        "kinds_of_opens an_open_by_id_is_scanned_and_hits_the_same_key",
    ),
    (
        "directory",
        "named ignore (`ignore directory`)",
        "kinds_of_opens directories_and_attribute_opens_are_named_ignores",
    ),
    (
        "open without data or execute access",
        "named ignore (`ignore no-data-access`)",
        "kinds_of_opens directories_and_attribute_opens_are_named_ignores",
    ),
    (
        "question for attributes by name",
        "named ignore (`ignore stack-file-object`): no handle comes of it",
        "kinds_of_opens directories_and_attribute_opens_are_named_ignores",
    ),
    (
        "execute access alone",
        "as data access",
        "kinds_of_opens execute_access_is_data_access",
    ),
    (
        "kernel-mode open",
        "scanned like any other",
        "kinds_of_opens kernel_mode_opens_are_scanned",
    ),
    (
        "offline attribute",
        "scanned: the attribute alone excuses nothing",
        "kinds_of_opens the_offline_attribute_excuses_nothing_and_recall_is_not_forced",
    ),
    (
        "recall on open or on data access",
        "not fetched by a scan; `on_evasion` decides (`failure not-recalled`)",
        "kinds_of_opens the_offline_attribute_excuses_nothing_and_recall_is_not_forced",
    ),
    (
        "prefetch",
        "named ignore from the kernel only (`ignore prefetch`)",
        "kinds_of_opens a_prefetch_open_is_a_named_ignore_only_from_the_kernel",
    ),
    (
        "paging file",
        "named ignore (`ignore paging-file`)",
        "kinds_of_opens a_paging_file_is_a_named_ignore",
    ),
    (
        "writable section",
        "scanned at each open, its key pinned (`scan writable-section`)",
        "kinds_of_opens a_writable_section_keeps_a_file_out_of_the_cache",
    ),
    (
        "file that was mapped to be written before our instance came",
        "as with a writable section (`scan writable-section`)",
        "mapped_before i2_a_file_that_was_mapped_to_be_written_before_us_is_not_cached",
    ),
    (
        "layer file that the host has mapped writable",
        "scanned at each open in every container",
        "races i2_a_layer_file_that_the_host_has_mapped_is_not_cached",
    ),
    (
        "direct-access volume",
        "scanned at each open, never cached (`scan dax`)",
        "kinds_of_opens a_direct_access_volume_is_scanned_and_never_cached",
    ),
    (
        "volume whose GUID comes late",
        "uncached until it is there, asked for once a second (`event late-guid`)",
        "kinds_of_opens a_volume_whose_guid_comes_late_is_cached_from_then_on",
    ),
    (
        "volume that was mounted while there was no memory to look at it",
        "scanned at each open, never cached, its bytes sent (`event volume-unknown`); without \
         memory still, `on_failure` decides",
        "kinds_of_volumes i1_a_volume_that_came_without_memory_is_guarded",
    ),
    (
        "two live volumes with one GUID",
        "scanned at each open, never cached (`scan no-volume`)",
        "kinds_of_opens two_live_volumes_with_one_guid_are_never_cached",
    ),
    (
        "FAT, exFAT volume",
        "scanned at each open, never cached: its ids are not stable (`scan no-file-id`)",
        "kinds_of_volumes fat_and_exfat_are_scanned_and_never_cached",
    ),
    (
        "UDF, CimFS volume",
        "scanned at each open, never cached: its ids are not taken for stable (`scan \
         no-file-id`)",
        "kinds_of_volumes udf_and_cimfs_are_scanned_and_never_cached",
    ),
    (
        "cluster shared volume",
        "scanned at each open, never cached (`scan csv`)",
        "kinds_of_volumes a_cluster_volume_is_scanned_and_never_cached",
    ),
    (
        "hidden volume below a cluster shared volume",
        "not attached: its files are opened through the shared one",
        "attached the_hidden_volume_below_a_cluster_volume_is_left_alone",
    ),
    (
        "network volume",
        "not attached",
        "kinds_of_volumes network_volumes_are_left_alone",
    ),
    (
        "RAW volume",
        "not attached: it has no files",
        "kinds_of_volumes a_volume_without_file_system_is_left_alone",
    ),
    (
        "volume without data-scan sections",
        "the bytes are sent in pieces, verdicts are kept as ever; nothing is scanned at close \
         (`event close-left`)",
        "kinds_of_volumes without_sections_the_bytes_are_sent_and_verdicts_kept_as_ever",
    ),
    (
        "file above 64 MiB on a volume without data-scan sections",
        "not scanned; `on_evasion` decides (`failure too-large`)",
        "kinds_of_volumes a_file_larger_than_is_sent_follows_the_policy",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn codes<T: std::fmt::LowerHex>(codes: &[T]) -> String {
    let codes: Vec<_> = codes.iter().map(|code| format!("{code:#x}")).collect();
    codes.join(" ")
}

fn seen(seen: Seen) -> String {
    match seen {
        Seen::Callback(name) => name.to_owned(),
        Seen::Classes(classes) => format!("IRP_MJ_SET_INFORMATION {}", codes(classes)),
        Seen::Controls([]) => "IRP_MJ_FILE_SYSTEM_CONTROL, any code".to_owned(),
        Seen::Controls(list) => format!("IRP_MJ_FILE_SYSTEM_CONTROL {}", codes(list)),
    }
}

fn place(test: &str) -> String {
    let (file, function) = test.split_once(' ').expect("file and function");
    format!("`tests/{file}.rs` `{function}`")
}

fn changes() -> String {
    let mut page = String::from(
        "# What changes a file, and what is done about it\n\n\
         Made from the table in `crates/core/src/operation.rs`, by which the driver decides;\n\
         `crates/core/tests/operations.rs` holds the page to it and sees that each test is there.\n\
         Each test was seen failing without what its row does, and where that is nothing it shows\n\
         that the verdict stays; the patches of `tests/mutants` keep some of that.\n\n\
         | operation | seen as | effect | test |\n| --- | --- | --- | --- |\n",
    );
    for row in &TABLE {
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} |",
            row.operation,
            seen(row.seen),
            row.effect.doc(),
            place(row.test)
        );
    }
    page.push_str(
        "\nA change of a stream that has no context gives it one, or moves the volume's epoch\n\
         (`changes i2_a_change_of_a_stream_without_a_context_moves_the_volume`).\n\n\
         Pages name IRP_MJ_VOLUME_DISMOUNT and do not say when it comes, so the filter host\n\
         sends it for some volumes and not for others. InstanceQueryTeardown is asked for a\n\
         detach by hand alone, and never refused; each teardown, whatever its reason, voids the\n\
         volume. Decision 69.\n\n\
         What is opened in a transaction is scanned alone and never cached; nobody outside joins\n\
         its scan. Where a transaction cannot be followed (no memory, more than 64 files), its\n\
         whole volume is not cached until it ends, or until the instance does\n\
         (`transactions a_transaction_of_many_files_hides_the_volume`). Decision 68 says why.\n",
    );
    page
}

fn kinds() -> String {
    let mut page = String::from(
        "# Kinds of files and of opens\n\n\
         Made by `crates/core/tests/operations.rs`. The counter that shows a treatment is named\n\
         with its kind.\n\n\
         | kind | treatment | test |\n| --- | --- | --- |\n",
    );
    for (kind, treatment, test) in KINDS {
        let _ = writeln!(page, "| {kind} | {treatment} | {} |", place(test));
    }
    page
}

fn check(name: &str, page: &str) {
    let path = root().join("docs").join(name);
    if std::env::var_os("SILOSCAN_WRITE_DOCS").is_some() {
        fs::write(&path, page).expect("the page");
    }
    let found = fs::read_to_string(&path).expect("the page");
    assert!(found == page, "docs/{name} is not what the table says");
}

#[test]
fn the_pages_are_current() {
    check("changes.md", &changes());
    check("kinds.md", &kinds());
}

#[test]
fn every_named_test_exists() {
    let rows = TABLE.iter().map(|row| row.test);
    for test in rows.chain(KINDS.iter().map(|(_, _, test)| *test)) {
        let (file, function) = test.split_once(' ').expect("file and function");
        let text = fs::read_to_string(root().join("tests").join(file).with_extension("rs"));
        let text = text.unwrap_or_else(|error| panic!("{test}: {error}"));
        let declared = format!("#[test]\nfn {function}()");
        assert!(text.contains(&declared), "{test}");
    }
}

#[test]
fn no_class_and_no_code_is_listed_twice() {
    let (mut classes, mut controls) = (HashSet::new(), HashSet::new());
    for row in &TABLE {
        match row.seen {
            Seen::Callback(_) => {}
            Seen::Classes(list) => {
                for class in list {
                    assert!(classes.insert(*class), "{class:#x}");
                    assert_eq!(of_class(*class), row.effect);
                }
            }
            Seen::Controls(list) => {
                for code in list {
                    assert!(controls.insert(*code), "{code:#x}");
                    assert_eq!(of_control(*code, false), row.effect);
                }
            }
        }
    }
}

#[test]
fn what_no_list_knows_counts_by_its_access() {
    // Bits 14 and 15 of a code: 0 any access, 1 read, 2 write, 3 both.
    for (access, file, volume) in [
        (0, Effect::None, Effect::None),
        (1, Effect::None, Effect::None),
        (2, Effect::Change, Effect::Volume),
        (3, Effect::Change, Effect::Volume),
    ] {
        let code = 0x9_0000 | access << 14 | 0xabc << 2;
        assert_eq!(of_control(code, false), file);
        assert_eq!(of_control(code, true), volume);
    }
    assert_eq!(of_class(4), Effect::None, "attributes and times");
}
