//! The secrets from outside their files: made once, opened in order, shown once, brought back.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::clock::{CountingEntropy, SystemEntropy};

const AT: Timestamp = Timestamp::from_secs(1_760_000_000);

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn load(dir: &Path) -> Result<Secrets, SecretsError> {
    Secrets::load_or_create(dir, Network::Regtest, &*SystemEntropy::new())
}

fn passphrase(text: &str) -> Opener {
    Opener::Passphrase(Passphrase::new(text))
}

fn open(dir: &Path, opener: &Opener) -> Result<Secrets, SecretsError> {
    Secrets::open_or_create(dir, Network::Regtest, opener, &*SystemEntropy::new())
}

/// Whether a file below `dir` says `secret`, as it is, in hexadecimal or in base64.
fn on_disk(dir: &Path, secret: &[u8]) -> bool {
    use base64::Engine;
    let encoded = base64::prelude::BASE64_STANDARD_NO_PAD.encode(secret);
    let forms = [secret.to_vec(), hex::encode(secret).into_bytes(), encoded.into_bytes()];
    fs::read_dir(dir).unwrap().any(|entry| {
        let text = fs::read(entry.unwrap().path()).unwrap();
        forms.iter().any(|form| text.windows(form.len()).any(|window| window == form))
    })
}

#[test]
fn secrets_are_made_once_and_kept_private() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("regtest");
    let first = load(&dir).unwrap();
    let again = load(&dir).unwrap();
    assert_eq!(first.words(), again.words());
    assert_eq!(first.custody().word_count(), 24);
    assert_eq!(first.seed(), again.seed());
    assert_eq!(*first.masters, *again.masters);
    assert_eq!(first.epochs().unwrap().ring().keys().current_epoch(), 1);
    for file in ["seed", "keys", KEY_FILE] {
        assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
    }
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(format!("{first:?}{:?}", first.custody()), "Secrets(redacted)Seed(redacted)");
    let entropy = Mnemonic::parse_normalized(first.words()).unwrap().to_entropy();
    for secret in [first.words().as_bytes(), first.seed(), &entropy, &*first.masters[0].1] {
        assert!(!on_disk(&dir, secret), "in plain");
    }
    let other = load(&folder.path().join("signet")).unwrap();
    assert_ne!(first.words(), other.words());
}

#[test]
fn a_loose_directory_is_closed_and_a_loose_file_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    load(folder.path()).unwrap();
    assert_eq!(mode(folder.path()), 0o700);
    for file in ["seed", KEY_FILE, "keys"] {
        let path = folder.path().join(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load(folder.path()), Err(SecretsError::Exposed { mode: 0o640, .. })), "{file}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    load(folder.path()).unwrap();
}

#[test]
fn real_money_gets_nothing_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("bitcoin");
    let refused = Secrets::load_or_create(&dir, Network::Bitcoin, &CountingEntropy::default());
    assert!(matches!(refused, Err(SecretsError::NoSeed { .. })));
    assert!(!dir.exists());
    let nothing = Unlock::default().first_opener(&dir, Network::Bitcoin, &CountingEntropy::default());
    assert!(matches!(nothing, Err(SecretsError::NoOpener)));
}

#[test]
fn what_others_depend_on_is_not_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path()).unwrap();
    let keys = fs::read(folder.path().join("keys")).unwrap();
    fs::remove_file(folder.path().join("keys")).unwrap();
    assert!(matches!(load(folder.path()), Err(SecretsError::Missing { depends: "seed", .. })));
    fs::remove_file(folder.path().join("seed")).unwrap();
    fs::write(folder.path().join("channels.db"), "").unwrap();
    assert!(matches!(load(folder.path()), Err(SecretsError::Missing { depends: "channels.db", .. })));
    assert!(!folder.path().join("seed").exists());
    // Tokens' keys of another seed stay, too, as soon as something was sold.
    fs::remove_file(folder.path().join("channels.db")).unwrap();
    write_private(&folder.path().join("keys"), &keys).unwrap();
    fs::write(folder.path().join("ledger.db"), "").unwrap();
    assert!(matches!(load(folder.path()), Err(SecretsError::OtherSeed { .. })));
    assert!(!folder.path().join("seed").exists());
    fs::remove_file(folder.path().join("ledger.db")).unwrap();
    load(folder.path()).unwrap();
    let kept: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("keys.before-"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((fs::read(&kept[0]).unwrap(), mode(&kept[0])), (keys, 0o600), "what is in the way is kept");
}

#[test]
fn a_damaged_seed_is_reported_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    load(folder.path()).unwrap();
    for text in ["abandon abandon zebra", "{\"tollhouse_seed\": 1, \"words\": \"abandon\"}"] {
        fs::write(folder.path().join("seed"), text).unwrap();
        let message = load(folder.path()).unwrap_err().to_string();
        assert!(message.contains("damaged") && !message.contains("abandon"), "{message}");
        assert_eq!(fs::read_to_string(folder.path().join("seed")).unwrap(), text);
    }
}

#[test]
fn files_in_plain_are_read_once_and_encrypted() {
    let folder = tempfile::tempdir().unwrap();
    let words = format!("{}art", "abandon ".repeat(23));
    write_private(&folder.path().join("seed"), format!("{words}\n")).unwrap();
    assert!(
        matches!(load(folder.path()), Err(SecretsError::Missing { depends: "seed", .. })),
        "its keys are gone"
    );
    assert_eq!(SeedPlace::look(folder.path()).unwrap(), SeedPlace::Plain);
    write_private(&folder.path().join("keys"), format!("3 {}\n", "05".repeat(32))).unwrap();
    fs::write(folder.path().join("channels.db"), "").unwrap();
    let opened = open(folder.path(), &passphrase("correct horse")).unwrap();
    assert_eq!((opened.words(), opened.masters[0].0), (&*words, 3));
    assert!(!on_disk(folder.path(), words.as_bytes()) && !on_disk(folder.path(), &[5; 32]));
    let with = OpensWith { passphrase: true, key_file: false };
    assert_eq!(SeedPlace::look(folder.path()).unwrap(), SeedPlace::Sealed(with));
    let wrong = open(folder.path(), &passphrase("wrong horse"));
    assert!(matches!(wrong, Err(SecretsError::WrongPassphrase { .. })));
    assert_eq!(open(folder.path(), &passphrase("correct horse")).unwrap().seed(), opened.seed());
}

#[test]
fn what_opens_a_seed_is_looked_for_in_order_and_nothing_weaker_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, entropy) = (folder.path().join("regtest"), SystemEntropy::new());
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        write_private(&path, text).unwrap();
        path
    };
    let right = Unlock { passphrase_file: Some(file("right", "correct horse\n")), ..Unlock::default() };
    let attempt = |unlock: &Unlock| unlock.attempt(&dir, Network::Regtest, entropy.as_ref());
    let short = Unlock { passphrase_file: Some(file("short", "horse\n")), ..Unlock::default() };
    assert!(matches!(attempt(&short), Err(SecretsError::Unfit { .. })));
    assert!(matches!(attempt(&right), Ok(Unlocked::Open(_))));
    assert!(!dir.join(KEY_FILE).exists(), "a passphrase was said");
    assert!(matches!(attempt(&Unlock::default()), Ok(Unlocked::Locked)));
    let wrong = Unlock { passphrase_file: Some(file("wrong", "wrong horse bat\n")), ..Unlock::default() };
    assert!(matches!(attempt(&wrong), Err(SecretsError::WrongPassphrase { .. })));
    let loose = file("loose", "correct horse\n");
    fs::set_permissions(&loose, fs::Permissions::from_mode(0o644)).unwrap();
    let loose = Unlock { passphrase_file: Some(loose), ..Unlock::default() };
    assert!(matches!(attempt(&loose), Err(SecretsError::Exposed { .. })));

    // A key file opens it beside the passphrase, until that is changed.
    let Ok(Unlocked::Open(secrets)) = attempt(&right) else { panic!("it opens") };
    let custody = secrets.custody();
    let key = UnlockKey::read_or_make(&folder.path().join("elsewhere.key"), entropy.as_ref()).unwrap();
    let (old, new) = (Passphrase::new("correct horse"), Passphrase::new("battery staple"));
    assert!(matches!(custody.set_key_file(None, &key, &*entropy), Err(SeedFault::WrongPassphrase)));
    custody.set_key_file(Some(&old), &key, &*entropy).unwrap();
    let by_key = Unlock { key_file: Some(key.path().to_owned()), ..Unlock::default() };
    assert!(matches!(attempt(&by_key), Ok(Unlocked::Open(_))));
    assert!(matches!(attempt(&Unlock::default()), Ok(Unlocked::Locked)), "that key is not beside it");
    let away = Unlock { key_file: Some(folder.path().join("stick/none")), ..Unlock::default() };
    assert!(matches!(attempt(&away), Err(SecretsError::File { path, .. }) if path.ends_with("stick/none")));
    let change = |current: &Passphrase, keep| custody.set_passphrase(Some(current), &new, keep, &*entropy);
    assert!(matches!(change(&new, KeyFiles::Keep), Err(SeedFault::WrongPassphrase)));
    change(&old, KeyFiles::Keep).unwrap();
    assert!(matches!(attempt(&by_key), Ok(Unlocked::Open(_))));
    change(&new, KeyFiles::Forget).unwrap();
    assert!(matches!(attempt(&by_key), Ok(Unlocked::Locked)));
    assert!(matches!(attempt(&right), Err(SecretsError::WrongPassphrase { .. })));
    let again = open(&dir, &passphrase("battery staple")).unwrap();
    assert_eq!((again.seed(), *again.masters == *secrets.masters), (secrets.seed(), true));
    for secret in ["correct horse", "battery staple", "wrong horse"] {
        assert!(!on_disk(&dir, secret.as_bytes()));
    }
}

#[test]
fn words_are_shown_once_and_not_after_somebody_proved_to_have_them() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let entropy = SystemEntropy::new();
    let secrets = open(dir, &passphrase("correct horse")).unwrap();
    let seed = secrets.custody();
    assert_eq!((seed.status().shown_at, seed.status().verified_at), (None, None));
    assert_eq!(**seed.show(None, AT).unwrap(), secrets.words());
    assert!(matches!(seed.show(None, AT), Err(SeedFault::Shown)));
    assert!(matches!(seed.show(Some(None), AT), Err(SeedFault::WrongPassphrase)));
    let right = Passphrase::new("correct horse");
    assert_eq!(**seed.show(Some(Some(&right)), AT).unwrap(), secrets.words());

    assert!(matches!(seed.verify(&["abandon"; 3], AT), Err(SeedFault::NotAsked)));
    let words: Vec<&str> = secrets.words().split(' ').collect();
    let asked = seed.ask(&*entropy);
    assert!(asked.is_sorted_by(|a, b| a < b) && asked[0] >= 1 && asked[2] <= 24, "{asked:?}");
    let answer = |asked: [usize; 3]| asked.map(|number| format!(" {} ", words[number - 1].to_uppercase()));
    let mut turned = answer(asked);
    turned.rotate_left(1);
    let wrong = if turned == answer(asked) { ["zoo", "zoo", "zoo"].map(str::to_owned) } else { turned };
    assert!(matches!(seed.verify(&wrong, AT), Err(SeedFault::WrongWords)));
    assert!(matches!(seed.verify(&answer(asked), AT), Err(SeedFault::NotAsked)), "one answer a question");
    seed.verify(&answer(seed.ask(&*entropy)), AT).unwrap();
    assert!(matches!(seed.show(Some(Some(&right)), AT), Err(SeedFault::Verified)));
    // It is remembered.
    let again = open(dir, &passphrase("correct horse")).unwrap();
    assert_eq!(again.custody().status().verified_at, Some(AT));
}

#[test]
fn words_come_back_beside_what_is_theirs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, entropy) = (folder.path().join("regtest"), SystemEntropy::new());
    let first = open(&dir, &passphrase("correct horse")).unwrap();
    let bring = |text: &str| {
        let words = Words::read(text)?;
        let opener = passphrase("battery staple");
        Secrets::restore(&dir, Network::Regtest, words, &opener, entropy.as_ref(), AT)
    };
    assert!(matches!(bring(first.words()), Err(SecretsError::Exists { .. })));
    fs::remove_file(dir.join("seed")).unwrap();
    fs::write(dir.join("channels.db"), "").unwrap();
    fs::write(dir.join("ledger.db"), "").unwrap();
    let twelve = format!("{}about", "abandon ".repeat(11));
    assert!(matches!(bring(&twelve), Err(SecretsError::Missing { depends: "channels.db", .. })));
    assert!(matches!(bring("abandon about"), Err(SecretsError::NotWords)));
    let back = bring(&first.words().to_uppercase().replace(' ', "\n")).unwrap();
    assert_eq!((back.seed(), back.custody().status().verified_at), (first.seed(), Some(AT)));
    let other = folder.path().join("other");
    let opener = passphrase("battery staple");
    let words = Words::read(&twelve).unwrap();
    let made = Secrets::restore(&other, Network::Regtest, words, &opener, entropy.as_ref(), AT).unwrap();
    assert_eq!(made.custody().word_count(), 12);
    let words = Words::make(WordCount::Twelve, &*entropy);
    let made = Secrets::create(&folder.path().join("third"), Network::Regtest, words, &opener, &*entropy);
    assert_eq!(made.unwrap().custody().word_count(), 12);
}
