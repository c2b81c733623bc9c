//! An appliance moves to another place with its channels, and goes on selling over them.

use std::path::Path;
use std::process::Output;

use tokio::net::TcpListener;
use tollhouse::ports::NodeWatch;
use tollhouse::sandbox::buyer::Buyer;
use tollhouse::sandbox::world::{World, WorldAsk};

use crate::appliance::{TURN, buy, tollhouse};

async fn world(dir: &Path) -> anyhow::Result<World> {
    let bind = || TcpListener::bind("127.0.0.1:0");
    let (gateway, admin) = (bind().await?, bind().await?);
    World::start(WorldAsk { dir, gateway, admin, progress: &|_| {} }).await
}

/// Buys once from the shop over the payer's channel; gives the channel.
async fn sell(world: &World) -> String {
    let key = std::fs::read_to_string(world.payer.admin_key_file()).expect("the payer's key");
    let customer = Buyer::new(&world.payer.admin_url(), key.trim()).expect("a client");
    buy(&customer, &format!("{}/v1/exchange-rates", world.shop.gateway_url())).await;
    let audit = world.shop.ledger().audit().await.expect("an audit");
    assert!(audit.ok, "{audit:?}");
    world.shop.node().view().await.channels[0].channel_id.clone()
}

fn migrate(home: &Path, data_dir: &Path, args: &[&str]) -> Output {
    let data_dir = data_dir.display().to_string();
    let more = ["--data-dir", &data_dir, "--network", "regtest", "--json"];
    tollhouse(home, &[&["migrate"], args, &more].concat()).output().expect("it runs")
}

fn done(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shop_moves_with_its_channel() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path();
    let dir = home.join("world");
    std::fs::create_dir(&dir).expect("made");
    let before = world(&dir).await.expect("a world");
    let channel = sell(&before).await;
    let shop = dir.join("shop");
    let text = |path: &Path| path.display().to_string();
    let (file, code) = (text(&home.join("shop.move")), text(&home.join("code")));
    let export = ["export", &file, "--code-file", &code, "--yes"];
    let running = migrate(home, &shop, &export);
    assert!(String::from_utf8_lossy(&running.stdout).contains("another tollhouse runs on"));
    before.stop().await;
    std::fs::write(&code, "another's\n").expect("written");
    let taken = migrate(home, &shop, &export);
    assert!(String::from_utf8_lossy(&taken.stdout).contains("is there already"), "{taken:?}");
    std::fs::remove_file(&code).expect("removed");

    done(&migrate(home, &shop, &export));
    let Err(refused) = world(&dir).await else { panic!("the source started again") };
    assert!(format!("{refused:#}").contains("was moved away to"), "{refused:#}");
    let unsure = migrate(home, &shop, &["undo"]);
    assert!(String::from_utf8_lossy(&unsure.stdout).contains("not_confirmed"));

    // The other machine, whose configuration says where.
    std::fs::rename(&shop, home.join("old")).expect("set aside");
    let config = text(&home.join("shop2.toml"));
    std::fs::write(&config, format!("data_dir = {shop:?}\nnetwork = \"regtest\"\n")).expect("written");
    let import = ["migrate", "import", &file, "--code-file", &code, "--yes", "--config", &config];
    let imported = tollhouse(home, &import).output().expect("it runs");
    done(&imported);
    let next = String::from_utf8_lossy(&imported.stdout);
    let run = format!("tollhouse run --config {config}");
    assert!(next.contains(&run) && next.contains(&format!("that must be {}", shop.display())), "{next}");
    assert!(!Path::new(&file).exists(), "it is not imported twice");
    let after = world(&dir).await.expect("the world wakes");
    assert_eq!(sell(&after).await, channel, "it is the same channel");
    assert_eq!(after.shop.ledger().generation().await.expect("its life").generation, 1, "an honest move");
    after.stop().await;
}
