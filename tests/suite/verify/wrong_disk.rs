//! A filesystem that reads wrong: then everything looks corrupt, and nothing must move.

use super::*;

/// So many blobs, and the first of them damaged.
fn damaged(count: u64, damaged: u64) -> tempfile::TempDir {
    // A manifest and a config come with the layers.
    let layers: Vec<Content> = (0..count - 2).map(|number| layer_of(7000 + number, 50)).collect();
    let root = registry().repo("many").image("many", &layers).tag("v1").on_disk();
    for layer in &layers[..damaged as usize] {
        Damage::LastByte.happen(&data(root.path(), &layer.digest));
    }
    root
}

fn quarantine(root: &Path, flags: &[&str]) -> Outcome {
    verify(root).args(["--quarantine", "--min-age", "0s"]).args(flags).json().run()
}

#[test]
fn much_damage_at_once_is_taken_for_the_disks_and_stays() {
    // From ten on, and from five in a hundred on.
    for (count, hurt, moves) in
        [(12, 10, false), (50, 48, false), (200, 10, false), (201, 10, true), (240, 12, false), (260, 12, true), (20, 9, true)]
    {
        let root = damaged(count, hurt);
        let before = snapshot(root.path());
        let ran = quarantine(root.path(), &[]).expect_code(1);
        let codes = ran.finding_codes();
        let name = format!("{hurt} of {count}");
        assert_eq!(codes.iter().filter(|code| *code == "corrupt-blob").count() as u64, hurt, "{name}");
        assert_eq!(codes.contains(&"suspect-disk".to_owned()), !moves, "{name}");
        assert_eq!(number(&ran, "/quarantined/blobs"), if moves { hurt } else { 0 }, "{name}");
        if moves {
            continue;
        }
        let after: Snapshot = snapshot(root.path()).into_iter().filter(|(path, _)| path.starts_with("docker")).collect();
        assert!(before.iter().all(|(path, seen)| path.is_empty() || after.get(path) == Some(seen)), "{name}: nothing moves");
        let text = verify(root.path()).args(["--quarantine", "--min-age", "0s"]).run().expect_code(1).stdout;
        for said in
            [&format!("{hurt} of {count} blobs"), "looks like the disk", "Nothing was quarantined", "--allow-many-damaged"]
        {
            assert!(text.contains(said), "{said}: {text}");
        }
        let ran = quarantine(root.path(), &["--allow-many-damaged"]).expect_code(1);
        assert_eq!(number(&ran, "/quarantined/blobs"), hurt, "{name}: {:?}", ran.findings());
    }
}

/// Reports are what they were where nothing was to move.
#[test]
fn without_quarantine_damage_is_told_and_nothing_else() {
    let root = damaged(50, 48);
    let ran = verify(root.path()).json().run().expect_code(1);
    assert!(ran.finding_codes().iter().all(|code| code == "corrupt-blob"), "{:?}", ran.finding_codes());
}
