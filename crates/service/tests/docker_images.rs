//! Docker's images and the folders of their layers, in stores as Docker lays them out, good and
//! damaged ones.
#![cfg(unix)]

mod docker_store;

use std::fs;
use std::os::unix::fs::symlink;

use docker_store::{
    Docker, cache_id, chains, configuration, content, digest, digits, entry, folder,
};
use siloscan_service::runtime::images::{Image, ImageError};
use siloscan_service::runtime::reference::Reference;
use siloscan_service::runtime::{Store, StoreError};

const NAMES: &str = "image/windowsfilter/repositories.json";

fn find(docker: &Docker, text: &str) -> Result<Image, ImageError> {
    let asked = Reference::parse(text).unwrap_or_else(|| panic!("{text} is a name"));
    Store::new(docker.root()).image(&asked)
}

fn found(docker: &Docker, text: &str) -> Image {
    find(docker, text).unwrap_or_else(|cause| panic!("{text}: {cause}"))
}

/// Why there is no such image; each of the words is in it.
fn refused(docker: &Docker, text: &str, words: &[&str]) -> ImageError {
    let cause = find(docker, text).expect_err(text);
    let said = cause.to_string();
    for word in words {
        assert!(said.contains(word), "{word:?} is not in: {said}");
    }
    cause
}

#[test]
fn an_image_is_found_by_whatever_docker_calls_it() {
    let (docker, id) = Docker::with(&["a", "b"]);
    let other = docker.image(&["a"]);
    let (manifest, list) = (digest("1"), digest("2"));
    let pulled = format!("site/app@{manifest}");
    let base = format!("mcr.microsoft.com/windows/servercore@{list}");
    docker.call(&[
        ("app:latest", &id),
        ("app:1", &other),
        ("site/app:1", &id),
        (&pulled, &id),
        ("localhost:5000/team/app:1.0", &id),
        ("mcr.microsoft.com/windows/servercore:ltsc2022", &id),
        (&base, &id),
        ("library/deep/app:latest", &id),
    ]);
    let digits = digits(&id);
    let by_manifest = format!("site/app:gone@{manifest}");
    let by_list = format!("mcr.microsoft.com/windows/servercore@{list}");
    for text in [
        "app",
        "app:latest",
        "library/app",
        "docker.io/app",
        "docker.io/library/app:latest",
        "index.docker.io/library/app",
        "site/app:1",
        "docker.io/site/app:1",
        &pulled,
        &by_manifest,
        "localhost:5000/team/app:1.0",
        "mcr.microsoft.com/windows/servercore:ltsc2022",
        &by_list,
        "docker.io/library/deep/app",
        &id,
        digits,
        &manifest,
        digits_of(&list),
        &id[..7 + 12],
        &digits[..12],
        &digits[..63],
    ] {
        assert_eq!(found(&docker, text).id.to_string(), id, "{text}");
    }
    assert_eq!(found(&docker, "app:1").id.to_string(), other);
}

fn digits_of(digest: &str) -> &str {
    digits(digest)
}

#[test]
fn chains_are_those_of_the_image_specification_with_the_base_first() {
    let (docker, id) = Docker::with(&["a", "b", "c"]);
    let image = found(&docker, &id);
    // From sha256sum: the digest of "sha256:aa… sha256:bb…", and so on.
    let expected = [
        &digest("a"),
        "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c",
        "sha256:c1377126441fb2f5ec2c21ae2a60255331d639e830f0ee1b40a36e52d4c40588",
    ];
    assert_eq!(image.layers.len(), 3);
    for ((layer, chain), digit) in image.layers.iter().zip(expected).zip(["a", "b", "c"]) {
        assert_eq!(layer.chain.to_string(), chain);
        assert_eq!(layer.digest.to_string(), digest(digit));
        assert_eq!(layer.folder, docker.files(chain));
    }
    let folders: Vec<_> = expected.iter().map(|chain| docker.files(chain)).collect();
    assert_eq!(image.folders(), folders);
}

#[test]
fn a_folder_that_two_layers_name_is_there_once_and_where_it_was_first() {
    let (docker, id) = Docker::with(&["a", "b", "c"]);
    let layers = ["a", "b", "c"].map(digest);
    let chains = chains(&layers);
    let cache_id = cache_id(&chains[0]);
    docker.write(&format!("{}/cache-id", entry(&chains[2])), cache_id);
    let image = found(&docker, &id);
    assert_eq!(image.layers.len(), 3);
    let expected = [docker.files(&chains[0]), docker.files(&chains[1])];
    assert_eq!(image.folders(), expected);
}

#[test]
fn a_base_layer_that_no_registry_gives_away_is_found_as_any_other() {
    let (docker, id) = Docker::with(&["a", "b"]);
    let descriptor = r#"{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "size":1,"digest":"sha256:00","urls":["https://mcr.microsoft.com/v2/x"]}"#;
    let name = format!("{}/descriptor.json", entry(&digest("a")));
    docker.write(&name, descriptor);
    let image = found(&docker, &id);
    assert_eq!(image.layers[0].folder, docker.files(&digest("a")));
}

#[test]
fn an_unknown_image_is_named_with_names_that_are_like_it() {
    let (docker, id) = Docker::with(&["a"]);
    docker.call(&[
        ("app:1", &id),
        ("mcr.microsoft.com/windows/servercore:ltsc2022", &id),
        ("\u{1b}[2Japp:1", &id),
        ("far/away:1", &id),
    ]);
    let cause = refused(
        &docker,
        "app:2",
        &["no image app:2", "app:1", "docker image ls"],
    );
    assert!(cause.is_elsewhere());
    let ImageError::Unknown { near, .. } = cause else {
        panic!("{cause}");
    };
    assert_eq!(near, ["app:1"], "names alone, and no other");
    let near = "is it mcr.microsoft.com/windows/servercore:ltsc2022?";
    refused(&docker, "servercore:ltsc2019", &[near]);
    let nothing_like_it = refused(&docker, "zzz", &["no image zzz"]);
    assert!(!nothing_like_it.to_string().contains("is it"));
    // 11 digits are no beginning, and a tag makes a name of 12.
    let digits = digits(&id);
    refused(&docker, &digits[..11], &["no image"]);
    refused(&docker, &format!("{}:latest", &digits[..12]), &["no image"]);
    for unknown in [digest("9"), digest("9")[..30].to_owned()] {
        refused(&docker, &unknown, &["no image sha256:99"]);
    }
    let manifest = format!("other@{}", digest("1"));
    docker.call(&[(&manifest, &id)]);
    refused(&docker, &format!("app@{}", digest("1")), &["no image"]);
    // Docker without a file of names has no names.
    fs::remove_file(docker.path(NAMES)).expect("it is there");
    refused(&docker, "app", &["no image app"]);
    assert_eq!(found(&docker, &id).id.to_string(), id);
}

#[test]
fn what_several_images_are_called_is_told_with_all_of_them() {
    let docker = Docker::new();
    let ids: Vec<String> = (0..7)
        .map(|last| format!("{}{last}", "d".repeat(63)))
        .collect();
    for id in &ids {
        docker.write(&content(&format!("sha256:{id}")), "{}");
    }
    let cause = refused(&docker, &"d".repeat(12), &["any of 7 images", "and 2 more"]);
    assert!(!cause.is_elsewhere());
    for id in &ids[..5] {
        assert!(cause.to_string().contains(id), "{cause}");
    }
    // One digit more than what they share is enough; then it is looked at, and found damaged.
    let one = find(&docker, &format!("sha256:{}", &ids[3])).expect_err("it is not whole");
    assert!(matches!(one, ImageError::WrongHash { .. }), "{one}");

    let (docker, id) = Docker::with(&["a"]);
    let (other, manifest) = (docker.image(&["b"]), digest("1"));
    let names = ["one", "two"].map(|name| format!("{name}@{manifest}"));
    docker.call(&[(&names[0], &id), (&names[1], &other)]);
    refused(&docker, &manifest, &["any of 2 images", &id, &other]);
    assert_eq!(found(&docker, &names[1]).id.to_string(), other);
}

#[test]
fn a_name_goes_before_the_beginning_of_an_id() {
    let (docker, id) = Docker::with(&["a"]);
    let other = docker.image(&["b"]);
    let beginning = &digits(&id)[..12];
    docker.call(&[(&format!("{beginning}:latest"), &other)]);
    assert_eq!(found(&docker, beginning).id.to_string(), other);
    let digest = format!("sha256:{beginning}");
    assert_eq!(found(&docker, &digest).id.to_string(), id);
}

#[test]
fn damaged_names_are_refused_and_digests_need_none() {
    let (docker, id) = Docker::with(&["a"]);
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [
        "",
        "[]",
        "{}",
        r#"{"Repositories":{"a":5}}"#,
        "\u{0}",
        &deep,
    ] {
        docker.write(NAMES, text);
        let cause = refused(&docker, "app", &["repositories.json", "is damaged"]);
        assert!(!cause.is_elsewhere(), "{cause}");
        refused(&docker, &digest("9"), &["repositories.json"]);
        assert_eq!(found(&docker, &id).id.to_string(), id);
    }
    for nonsense in ["", "app", r"..\..", "sha256:\u{1b}", &digest("A")] {
        docker.call(&[("app:latest", nonsense)]);
        refused(&docker, "app", &["repositories.json", "is no image"]);
    }
    let gone = digest("8");
    docker.call(&[("app:latest", &gone)]);
    let cause = refused(
        &docker,
        "app",
        &[&gone, "no configuration", "pull the image"],
    );
    assert!(matches!(cause, ImageError::Lost { .. }), "{cause}");
}

#[test]
fn damaged_configurations_are_refused_with_what_is_wrong() {
    let docker = Docker::new();
    let layers = |kind: &str, layers: &[&str]| {
        let layers = serde_json::to_string(layers).expect("texts are JSON");
        format!(r#"{{"rootfs":{{"type":"{kind}","diff_ids":{layers}}}}}"#)
    };
    let good = digest("a");
    let many = vec![good.as_str(); 257];
    let upper = digest("A");
    let deep = format!("{}1{}", r#"{"a":"#.repeat(100_000), "}".repeat(100_000));
    for (text, word) in [
        (String::new(), "EOF"),
        ("{".to_owned(), "EOF"),
        ("null".to_owned(), "invalid type"),
        (deep, "missing field `rootfs`"),
        ("{}".to_owned(), "missing field `rootfs`"),
        (r#"{"rootfs":null}"#.to_owned(), "invalid type"),
        (
            r#"{"rootfs":{"diff_ids":[]}}"#.to_owned(),
            "missing field `type`",
        ),
        (r#"{"rootfs":{"type":"layers"}}"#.to_owned(), "0 layers"),
        (layers("layers+base", &[&good]), "layers+base"),
        (layers("layers", &[]), "0 layers"),
        (layers("layers", &many), "257 layers"),
        (
            layers("layers", &[&good, "../../a"]),
            "is no layer's digest",
        ),
        (layers("layers", &[&upper]), "is no layer's digest"),
    ] {
        let id = docker.configuration(&text);
        refused(
            &docker,
            &id,
            &[digits(&id), "is damaged", word, "pull it again"],
        );
    }
}

#[test]
fn a_configuration_that_is_another_images_is_refused() {
    let (docker, id) = Docker::with(&["a"]);
    let other = configuration(&[digest("b")]);
    docker.image(&["b"]);
    docker.write(&content(&id), &other);
    docker.call(&[("app:latest", &id)]);
    let beginning = id[..7 + 12].to_owned();
    for text in ["app", id.as_str(), beginning.as_str()] {
        let found = docker_store::hash(other.as_bytes());
        let cause = refused(&docker, text, &[&id, &found, "pull it again"]);
        assert!(matches!(cause, ImageError::WrongHash { .. }), "{cause}");
    }
}

#[test]
fn a_layer_that_is_missing_is_told_with_what_is_not_there() {
    let layers = ["a", "b", "c"].map(digest);
    let chains = chains(&layers);
    let (entry, folder) = (entry(&chains[1]), folder(&chains[1]));
    let files = format!("{folder}/Files");
    for gone in [&entry, &folder, &files] {
        let (docker, id) = Docker::with(&["a", "b", "c"]);
        fs::remove_dir_all(docker.path(gone)).expect("it is there");
        let place = docker.path(gone).display().to_string();
        let words = ["layer 2 of 3", &id, &layers[1], &place, "pull it again"];
        let cause = refused(&docker, &id, &words);
        assert!(matches!(cause, ImageError::LayerMissing { .. }), "{cause}");
        assert!(!cause.is_elsewhere());
    }
    let (docker, id) = Docker::with(&["a", "b", "c"]);
    fs::remove_file(docker.path(&format!("{entry}/cache-id"))).expect("it is there");
    refused(&docker, &id, &["layer 2 of 3", "cache-id"]);
}

#[test]
fn a_layers_folder_is_64_digits_or_nothing() {
    let (docker, id) = Docker::with(&["a"]);
    // What such a name would lead to is there.
    docker.write("outside/Files/x", "x");
    docker.write("windowsfilter/Files/x", "x");
    let good = cache_id(&digest("a"));
    let name = format!("{}/cache-id", entry(&digest("a")));
    let absolute = docker.path("outside").display().to_string();
    for hostile in [
        "",
        ".",
        "..",
        r"..\..",
        "../outside",
        "../../outside",
        &absolute,
        &good.to_uppercase(),
        &good[..63],
        &format!("{good}0"),
        &format!("{good}\\.."),
        &format!("{good}\u{0}"),
        &format!("{}{good}", "../"),
        "\u{1b}[2J",
        "\u{ff10}",
    ] {
        docker.write(&name, hostile);
        let cause = refused(&docker, &id, &["cache-id", "is no folder of a layer"]);
        assert!(!cause.to_string().contains('\u{1b}'), "{cause}");
    }
    docker.write(&name, vec![b' '; 4_096]);
    refused(&docker, &id, &["cache-id", "more than 256 bytes"]);
    // As Docker does, white space around it is left out.
    docker.write(&name, format!(" {good}\r\n"));
    assert_eq!(
        found(&docker, &id).layers[0].folder,
        docker.files(&digest("a"))
    );
}

#[test]
fn links_are_not_followed() {
    let chain = digest("a");
    let (entry, folder) = (entry(&chain), folder(&chain));
    let (_, id) = Docker::with(&["a"]);
    for part in [
        "image".to_owned(),
        "image/windowsfilter".to_owned(),
        "image/windowsfilter/imagedb/content".to_owned(),
        content(&id),
        "image/windowsfilter/layerdb".to_owned(),
        entry.clone(),
        format!("{entry}/cache-id"),
        "windowsfilter".to_owned(),
        folder.clone(),
        format!("{folder}/Files"),
    ] {
        let (docker, id) = Docker::with(&["a"]);
        let (there, away) = (docker.path(&part), docker.path("away"));
        fs::rename(&there, &away).expect("a new name");
        symlink(&away, &there).expect("a link");
        let cause = refused(&docker, &id, &[&there.display().to_string(), "is a link"]);
        let not_followed = ImageError::Store {
            cause: StoreError::NotPlain { path: there },
        };
        assert_eq!(cause.to_string(), not_followed.to_string());
    }
    // Where the ids are looked through, and the names.
    let (docker, id) = Docker::with(&["a"]);
    let (there, away) = (
        docker.path("image/windowsfilter/imagedb"),
        docker.path("away"),
    );
    fs::rename(&there, &away).expect("a new name");
    symlink(&away, &there).expect("a link");
    refused(&docker, &id[..7 + 12], &["is a link"]);
    let (there, away) = (docker.path(NAMES), docker.path("names"));
    fs::rename(&there, &away).expect("a new name");
    symlink(&away, &there).expect("a link");
    refused(&docker, "app", &["repositories.json", "is a link"]);
    // A folder's own place is the administrator's to choose.
    let (docker, id) = Docker::with(&["a"]);
    let link = docker.path("link");
    symlink(docker.root(), &link).expect("a link");
    let asked = Reference::parse(&id).expect("a digest");
    assert!(Store::new(&link).image(&asked).is_ok());
}

#[test]
fn a_folder_without_dockers_data_is_told_with_the_next_step() {
    let docker = Docker::new();
    fs::remove_dir_all(docker.path("image/windowsfilter")).expect("it is there");
    // As Docker has it on Linux.
    docker.write("image/overlay2/repositories.json", "{}");
    let missing = docker.path("image/windowsfilter").display().to_string();
    let words = [
        &missing,
        "Docker Root Dir",
        "--runtime-store",
        "runtime.docker",
    ];
    let cause = refused(&docker, "app", &words);
    assert!(cause.is_elsewhere());
    docker.write("image/windowsfilter", "a file");
    refused(&docker, "app", &["is a link or no ordinary file"]);
}

#[test]
fn what_is_no_images_name_is_not_taken_for_one() {
    let id = "0123456789abcdef".repeat(4);
    for text in [
        "app",
        "a",
        "app:1",
        "site/app",
        "a__b",
        "a-----b.c_d",
        "LOCAL/app",
        "host.example:5000/a/b/c:TAG_1.0-x",
        "[::1]:5000/app",
        "[fe80::1]/app:x",
        &id,
        &id[..12],
        &format!("sha256:{}", &id[..12]),
        &format!("sha256:{id}"),
        &format!("app:x@sha256:{id}"),
        &"a".repeat(240),
    ] {
        assert!(Reference::parse(text).is_some(), "{text}");
    }
    for text in [
        "",
        "/var/lib/docker",
        "./app",
        "../app",
        "app/",
        "app//x",
        r"C:\layers\app",
        r"\\host\share",
        r"layers\app",
        "C:/layers",
        "App",
        "site/App",
        "app:",
        "app:-x",
        "app:a/b:",
        "app:1:2",
        "app :1",
        "a...b",
        "a___b",
        "-a",
        "a-",
        "\u{e4}pp",
        "app\u{1b}",
        "host_x.y/app:\u{0}",
        "-host.x/app",
        "host:port/app",
        "[::1/app",
        "[g]/app",
        "sha256:",
        "sha256:app",
        &format!("sha256:{}", &id[..11]),
        &format!("sha256:{id}0"),
        &format!("sha256:{}", id.to_uppercase()),
        &format!("app@{id}"),
        &format!("app@sha512:{id}"),
        &format!("@sha256:{id}"),
        &format!("app:{}", "a".repeat(129)),
        &"a".repeat(256),
        &format!("{}.x/app", "a".repeat(2_000)),
    ] {
        assert_eq!(Reference::parse(text), None, "{text}");
    }
}
