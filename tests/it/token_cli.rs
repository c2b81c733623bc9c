//! `tollhouse token`, as a person and as a script type it: offline, for tokens of any server.

use std::io::Write;
use std::process::{Output, Stdio};

use libmacaroon::{Format, Macaroon, MacaroonKey};
use serde_json::{Value, json};
use tollhouse::l402::{UnknownCaveats, authorization};

use crate::appliance::tollhouse;
use crate::l402_world::World;

struct Said {
    exit: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("JSON: {}{}", self.out, self.err))
    }
}

/// Runs `tollhouse token …` in an empty home, with `stdin`.
fn run(args: &[&str], stdin: &str) -> Said {
    let home = tempfile::tempdir().expect("a home");
    let mut command = tollhouse(home.path(), &[&["token"], args].concat());
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(stdin.as_bytes()).expect("it reads");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    assert_eq!(std::fs::read_dir(home.path()).expect("a folder").count(), 0, "it keeps nothing");
    Said { exit: status.code().expect("by itself"), out: text(stdout), err: text(stderr) }
}

#[test]
fn a_token_is_read_in_every_spelling_and_gives_no_secret_away() {
    let world = World::new();
    let (token, preimage) = (world.token(), world.preimage.to_hex());
    let header = format!("WWW-Authenticate: L402 macaroon=\"{}\", invoice=\"lnbcrt1x\"", token.base64());
    for (spelling, proof) in [
        (token.base64(), "none"),
        (hex::encode(token.bytes()), "none"),
        (header, "none"),
        (format!("Authorization: {}", authorization(&token.base64(), &world.preimage)), "fits"),
        (format!("{}:{}", token.base64(), "00".repeat(32)), "differs"),
    ] {
        let said = run(&["inspect", &spelling, "--json"], "");
        assert_eq!(said.exit, 0, "{}", said.err);
        let told = said.json();
        assert_eq!(told["payment_hash"], json!(world.identifier.payment_hash), "{spelling}");
        assert_eq!((&told["preimage"], &told["tollhouse"]["epoch"]), (&json!(proof), &json!(3)));
        assert_eq!(
            (&told["tollhouse"]["kind"], &told["tollhouse"]["sold_msat"]),
            (&json!("request"), &json!(21_000))
        );
        assert_eq!(
            (&told["expires_at"], told["caveats"].as_array().map(Vec::len)),
            (&json!(1_800_000_000), Some(9))
        );
        let signature = hex::encode(&token.bytes()[token.bytes().len() - 32..]);
        assert!(!said.out.contains(&preimage) && !said.out.contains(&signature));
    }
    // A person's text; from stdin, which no list of processes shows.
    let paid = authorization(&token.base64(), &world.preimage);
    for args in [&["inspect"][..], &["inspect", "-"]] {
        let said = run(args, &format!("{paid}\n"));
        assert_eq!(said.exit, 0, "{}", said.err);
        for line in
            ["one request to rates / fx, for 21 sat", "it is the payment's", "until     2027-01-15T08:00:00Z"]
        {
            assert!(said.out.contains(line), "{line}\nin\n{}", said.out);
        }
        assert!(!said.out.contains(&preimage));
    }
    for (bad, why) in [("hello world!", "neither base64"), ("AAAA", "version 2"), ("", "neither base64")] {
        let said = run(&["inspect"], bad);
        assert_eq!((said.exit, said.out.as_str()), (2, ""));
        assert!(said.err.contains(why), "{}", said.err);
    }
}

#[test]
fn a_token_is_narrowed_offline_and_the_gate_takes_it() {
    let world = World::new();
    let paid = authorization(&world.token().base64(), &world.preimage);
    let ask = ["attenuate", "--scope", "/v1", "--method", "get", "--method", "HEAD", "--max-uses", "3"];
    let more = ["--max-spend", "5 sat", "--budget-id", "anna", "--expires", "2027-01-15T06:00:00Z"];
    let said = run(&[&ask[..], &more].concat(), &paid);
    assert_eq!((said.exit, said.err.as_str()), (0, ""), "{}", said.err);
    let narrowed = said.out.trim();
    assert!(
        narrowed.starts_with("L402 ") && narrowed.ends_with(&world.preimage.to_hex()),
        "the preimage stays"
    );
    assert_eq!(world.used_as(narrowed, UnknownCaveats::Refuse), "good");
    let told = run(&["inspect", "--json"], narrowed).json();
    let added: Vec<&str> = told["caveats"].as_array().expect("caveats")[9..]
        .iter()
        .filter_map(|c| c["caveat"].as_str())
        .collect();
    let expires = "expires=2027-01-15T06:00:00Z";
    let expected =
        ["scope=/v1", "method=GET,HEAD", expires, "budget_id=anna", "max_uses=3", "max_spend_msat=5000"];
    assert_eq!(added, expected, "the budget's name stands before the limits that it names");
    assert_eq!((&told["max_uses"], &told["max_spend_msat"]), (&json!(3), &json!(5_000)));

    // Never wider, and nothing is printed then.
    for wider in [
        &["--scope", "/"][..],
        &["--method", "POST"],
        &["--max-uses", "4"],
        &["--expires", "2027-01-15T06:00:01Z"],
        &["--expires", "90 years"],
        &["--caveat", "rates_valid_until=1800000001"],
        &["--caveat", "services=rates:0,more:0"],
        &["--caveat", "units=2"],
    ] {
        let said = run(&[&["attenuate"], wider].concat(), narrowed);
        assert_eq!((said.exit, said.out.as_str()), (1, ""), "{wider:?}");
        assert!(said.err.contains("would widen"), "{}", said.err);
    }
    for bad in [
        &[][..],
        &["--scope", "v1"],
        &["--max-spend", "5"],
        &["--expires", "soon"],
        &["--caveat", "nothing"],
        &["--budget-id", "b"],
        &["--expires", "0s"],
    ] {
        let said = run(&[&["attenuate"], bad].concat(), narrowed);
        assert_eq!((said.exit, said.out.as_str()), (2, ""), "{bad:?}");
    }
    // What the gate does not know is said.
    let odd = run(&["attenuate", "--caveat", "ip=10.0.0.1"], &paid);
    assert!(
        odd.exit == 0 && odd.err.contains("refuses tokens with conditions that it does not know"),
        "{}",
        odd.err
    );
    assert_eq!(world.used_as(odd.out.trim(), UnknownCaveats::Refuse), "caveat_unknown");
    let soon = run(&["attenuate", "--expires", "1h", "--json"], &paid).json();
    assert!(soon["added"][0].as_str().is_some_and(|text| text.starts_with("expires=20")), "{soon}");
}

#[test]
fn another_servers_token_is_narrowed_as_its_own_library_would() {
    let world = World::new();
    let key = MacaroonKey::generate(b"aperture");
    let mut theirs = Macaroon::create(Some("lsat"), &key, world.identifier.to_bytes()).expect("a macaroon");
    for caveat in ["services=alpha:0", "alpha_capabilities=read,write", "alpha_valid_until=1800000000"] {
        theirs.add_first_party_caveat(caveat).expect("added");
    }
    let text = theirs.serialize(Format::V2).expect("written");
    let said = run(&["inspect"], &text);
    assert!(
        said.out.contains("not minted as a Tollhouse mints") && said.out.contains("alpha_capabilities"),
        "{}",
        said.out
    );
    assert!(said.out.contains("until     2027-01-15T08:00:00Z"), "{}", said.out);
    let wider = run(&["attenuate", "--caveat", "alpha_valid_until=1900000000"], &text);
    assert_eq!((wider.exit, wider.out.as_str()), (1, ""));
    let narrower = run(&["attenuate", "--caveat", "alpha_capabilities=read", "--scope", "/v1"], &text);
    assert!(narrower.exit == 0 && narrower.err.contains("another server's"), "{}", narrower.err);
    let ours = Macaroon::deserialize(narrower.out.trim()).expect("their library reads it");
    let mut expected = Macaroon::deserialize(&text).expect("read");
    expected.add_first_party_caveat("scope=/v1").expect("added");
    expected.add_first_party_caveat("alpha_capabilities=read").expect("added");
    assert_eq!(ours.signature(), expected.signature());
}
