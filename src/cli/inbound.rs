//! `tollhouse inbound`: how others come to be able to pay the node: who opens channels to it, on what
//! terms, and channels that are bought.

use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::amounts::number;
use super::ground::Yes;
use super::operator::{Admin, Failure, OperatorArgs, Shown, ask, table};
use crate::config::Environment;

#[derive(Debug, clap::Args)]
pub(super) struct InboundArgs {
    #[command(subcommand)]
    command: Option<InboundCommand>,
    #[command(flatten)]
    appliance: OperatorArgs,
}

#[derive(Debug, Subcommand)]
enum InboundCommand {
    /// Ask what a channel costs over which so much can be received; nothing is paid
    Quote(Quote),
    /// Buy a channel: an order by its number, or a new one
    Buy(Buy),
    /// End an order whose money came back, as its provider says and you have seen
    Close(Close),
    /// What may be ordered
    Limits,
    /// What was ordered, and how it stands
    Orders,
}

#[derive(Debug, clap::Args)]
struct Quote {
    /// What the node can receive over it
    #[arg(long, value_name = "SATS")]
    receivable_sat: u64,
    /// For how many blocks the provider keeps it open [default: half a year]
    #[arg(long, value_name = "N")]
    blocks: Option<u32>,
    /// Tell the public network of it
    #[arg(long)]
    announce: bool,
}

#[derive(Debug, clap::Args)]
struct Buy {
    /// The number of an order that `quote` placed
    #[arg(value_name = "ID")]
    order: i64,
    /// What it is paid with
    #[arg(long, value_enum)]
    by: By,
    #[command(flatten)]
    sure: Yes,
    /// Only say what would happen
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct Close {
    /// The order's number
    #[arg(value_name = "ID")]
    order: i64,
    #[command(flatten)]
    sure: Yes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum By {
    /// A payment over a channel
    Lightning,
    /// Coins of the wallet
    Onchain,
}

impl By {
    const fn word(self) -> &'static str {
        match self {
            By::Lightning => "lightning",
            By::Onchain => "onchain",
        }
    }
}

pub(super) fn run(args: &InboundArgs, env: &Environment) -> ExitCode {
    ask(&args.appliance, env, async |admin| match &args.command {
        None => {
            let inbound = admin.get("/api/v1/inbound").await?;
            let text = standing(&inbound);
            Ok(Shown::new(inbound, text))
        }
        Some(InboundCommand::Quote(Quote { receivable_sat, blocks, announce })) => {
            let body = json!({ "receivable_sat": receivable_sat, "blocks": blocks, "announce": announce });
            let order = admin.post("/api/v1/inbound/orders", &body).await?;
            let text = price(&order);
            Ok(Shown::new(order, text))
        }
        Some(InboundCommand::Buy(buy)) => pay(admin, buy).await,
        Some(InboundCommand::Close(Close { order, sure })) => {
            sure.or_ask(CLOSES)?;
            let path = format!("/api/v1/inbound/orders/{order}/close");
            let order = admin.post(&path, &json!({})).await?;
            let text = line(&order);
            Ok(Shown::new(order, text))
        }
        Some(InboundCommand::Limits) => {
            let limits = admin.get("/api/v1/inbound/limits").await?;
            let text = bounds(&limits);
            Ok(Shown::new(limits, text))
        }
        Some(InboundCommand::Orders) => {
            let orders = admin.get("/api/v1/inbound/orders").await?;
            let text = list(&orders);
            Ok(Shown::new(orders, text))
        }
    })
}

const CLOSES: &str = "The provider says that it gave the money back. Only you can know that it came. The order \
                      then is over: nobody asks the provider about it any more, and no alarm tells of it.";

fn bounds(limits: &Value) -> String {
    format!(
        "receivable  {} to {} sat\nchannel     {} to {} sat in all\nkept open   {} blocks at most\nconfirmed   within {} \
         blocks at best",
        limits["smallest_receivable_sat"],
        limits["largest_receivable_sat"],
        limits["smallest_channel_sat"],
        limits["largest_channel_sat"],
        limits["most_blocks"],
        limits["confirms_within_blocks"],
    )
}

async fn pay(admin: &Admin, buy: &Buy) -> Result<Shown, Failure> {
    let path = format!("/api/v1/inbound/orders/{}", buy.order);
    let order = admin.get(&path).await?;
    let total = order[buy.by.word()]["total_sat"].as_u64();
    let Some(total) = total else {
        let text = format!("The provider does not take {} for this order.", buy.by.word());
        return Err(Failure::refused("way_not_taken", text));
    };
    // One that was refused for now is as one that was not asked for.
    let new = order["state"] == "quoted" || order["state"] == "paying" && order["operation"].is_null();
    let plan = match buy.by {
        By::Onchain if new => {
            let body = json!({ "address": order["onchain"]["to"], "amount_sat": total });
            Some(admin.post("/api/v1/onchain/send?dry_run=true", &body).await?)
        }
        _ => None,
    };
    if let Some(plan) = plan.as_ref().filter(|plan| plan["enough"] == false) {
        let lines = plan["lines"].as_array().into_iter().flatten();
        let why: Vec<&str> = lines.filter_map(Value::as_str).collect();
        let text = format!("There is not enough for it: nothing was paid.\n{}", why.join("\n"));
        return Err(Failure::refused("not_enough", text));
    }
    let will = consequence(&order, buy.by, total, plan.as_ref());
    if buy.dry_run {
        return Ok(Shown::new(order, will));
    }
    let mut body = json!({ "way": buy.by.word(), "max_total_sat": total });
    if new {
        buy.sure.or_ask(&will)?;
        // Who was told what its transaction pays agreed to no more.
        if let Some(rate) = plan.as_ref().and_then(|plan| plan["figures"]["fee_rate_sat_per_kvb"].as_u64()) {
            body["max_sat_per_kvb"] = rate.into();
        }
    }
    let order = admin.post(&format!("{path}/pay"), &body).await?;
    let text = format!("{}\nSee `tollhouse inbound orders`.", line(&order));
    Ok(Shown::new(order, text))
}

/// What will happen to which sats.
fn consequence(order: &Value, by: By, total: u64, plan: Option<&Value>) -> String {
    let fee = order[by.word()]["fee_sat"].as_u64().unwrap_or(total);
    let from = match by {
        By::Lightning => "out of a channel, and routing costs up to a hundredth more",
        By::Onchain => "from the wallet's coins, and the transaction's fee is added",
    };
    // Where it goes is said here.
    let lines = plan.and_then(|plan| plan["lines"].as_array()).into_iter().flatten().skip(1);
    let costs: String = lines.filter_map(Value::as_str).map(|line| format!("{line}\n")).collect();
    format!(
        "{total} sat go to {}, of which {fee} sat are its fee: {from}.\n\
         {costs}It then opens a channel over which {} sat can be received. A payment cannot be taken back.",
        order["lsp"].as_str().unwrap_or_default(),
        order["receivable_sat"]
    )
}

fn sat(msat: &Value) -> String {
    msat.as_u64().map_or_else(|| "?".to_owned(), |msat| format!("{} sat", msat.div_ceil(1_000)))
}

fn standing(inbound: &Value) -> String {
    let mut lines = Vec::new();
    let just_in_time = &inbound["just_in_time"];
    match (just_in_time["node"].as_str(), just_in_time["known"].as_bool()) {
        (None, _) => lines.push(
            "No provider opens channels for payments. Name one under [liquidity.lsps2] to sell from nothing."
                .to_owned(),
        ),
        (Some(node), known) => {
            let address = just_in_time["address"].as_str().unwrap_or_default();
            lines.push(format!("Channels for payments: {node}@{address}"));
            match (known, just_in_time["least_msat"].is_null()) {
                (Some(true), false) => lines.push(format!(
                    "  for a price of {} or more, of which it keeps {}",
                    sat(&just_in_time["least_msat"]),
                    sat(&just_in_time["least_fee_msat"])
                )),
                (Some(true), true) => lines.push(format!(
                    "  it wants more than you pay: {} sat, and {} % of the payment, at most",
                    just_in_time["max_fee_sat"], just_in_time["max_fee_percent"]
                )),
                _ => lines.push(format!(
                    "  cannot be asked: {}",
                    just_in_time["problem"].as_str().unwrap_or("it has not been asked yet")
                )),
            }
            lines.push(format!(
                "  {} such invoices in the last hour, {} at most",
                just_in_time["made_last_hour"], just_in_time["max_per_hour"]
            ));
        }
    }
    let orders = &inbound["orders"];
    match orders["node"].as_str() {
        None => lines.push("No provider sells channels. Name one under [liquidity.lsps1].".to_owned()),
        Some(node) => {
            let address = orders["address"].as_str().unwrap_or_default();
            lines.push(format!(
                "Channels for sale: {node}@{address} (`tollhouse inbound quote --receivable-sat SATS`)"
            ));
        }
    }
    lines.join("\n")
}

fn price(order: &Value) -> String {
    let way = |name: &str, words: &str| {
        let way = &order[name];
        way["total_sat"]
            .as_u64()
            .map(|total| format!("  {words}: {total} sat, of which {} sat are its fee", way["fee_sat"]))
    };
    let mut lines = vec![format!(
        "Order {}: a channel over which {} sat can be received, for {} blocks. It costs",
        order["id"], order["receivable_sat"], order["blocks"]
    )];
    lines.extend(way("lightning", "by lightning"));
    lines.extend(way("onchain", "by onchain"));
    lines.push(format!("Nothing was paid. `tollhouse inbound buy {} --by …` pays it.", order["id"]));
    lines.join("\n")
}

/// How an order stands, in as many words as its page has for it.
fn standing_of(order: &Value) -> String {
    match order["state"].as_str().unwrap_or_default() {
        "quoted" => "waits for payment",
        "paying" | "paid" if order["refund_said"] == true => "refunded, says the provider",
        "paying" if order["operation"].is_null() => "not paid yet",
        "paying" if order["operation_state"] == "unclear" => "perhaps paid",
        "paying" => "being paid",
        "paid" => "paid, the channel is to come",
        "opened" => "the channel is opened",
        "refunded" => "the money is back",
        "expired" => "ran out unpaid",
        "failed" => "not paid, nothing moved",
        other => other,
    }
    .to_owned()
}

fn line(order: &Value) -> String {
    let state = match order["state"].as_str().unwrap_or_default() {
        "paying" | "paid" if order["refund_said"] == true => {
            "is refunded, says its provider: see that it came"
        }
        "refunded" => "is over: its money is back",
        "paying" if order["operation"].is_null() => {
            "was refused for now, and nothing was sent: asked again it is paid"
        }
        "paying" if order["operation_state"] == "unclear" => {
            let operation = &order["operation"];
            return format!(
                "Order {} was perhaps paid: see `tollhouse operations show {operation}`, and settle it.",
                order["id"]
            );
        }
        "paying" => "is being paid",
        "paid" => "is paid: the provider is to open the channel",
        "opened" => "is done: the channel is open",
        other => return format!("Order {} is {other}.", order["id"]),
    };
    format!("Order {} {state}.", order["id"])
}

fn list(orders: &Value) -> String {
    let rows = orders["orders"].as_array().map(Vec::as_slice).unwrap_or_default();
    if rows.is_empty() {
        return "Nothing was ordered. `tollhouse inbound quote --receivable-sat SATS` asks for a price."
            .to_owned();
    }
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    table(
        ["ORDER", "RECEIVABLE", "STATE", "BY", "PRICE", "FUNDING"],
        rows.iter().map(|row| {
            let way = row["way"].as_str().unwrap_or("lightning");
            let total = [way, "lightning", "onchain"].iter().find_map(|way| row[*way]["total_sat"].as_u64());
            [
                row["id"].to_string(),
                format!("{} sat", number(&row["receivable_sat"])),
                standing_of(row),
                word(&row["way"]),
                total.map_or_else(String::new, |total| format!("{total} sat")),
                word(&row["funding"]),
            ]
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_what_a_channel_for_a_payment_costs() {
        assert!(standing(&json!({})).contains("[liquidity.lsps2]"));
        let told = json!({ "just_in_time": {
            "node": "02ab", "address": "lsp:9735", "known": true, "least_msat": 10_000_000,
            "least_fee_msat": 2_000_000, "made_last_hour": 1, "max_per_hour": 12,
        }});
        let text = standing(&told);
        assert!(text.contains("for a price of 10000 sat or more, of which it keeps 2000 sat"), "{text}");
        let away = json!({ "just_in_time": { "node": "02ab", "known": false, "problem": "no route" } });
        assert!(standing(&away).contains("cannot be asked: no route"));
    }

    #[test]
    fn an_order_is_shown_with_its_price_and_its_end() {
        let order = json!({
            "id": 3, "receivable_sat": 500_000, "blocks": 4320, "state": "opened", "way": "onchain", "lsp": "02ab",
            "onchain": { "total_sat": 1_200, "fee_sat": 1_200 }, "funding": "aa:0",
        });
        assert!(price(&order).contains("by onchain: 1200 sat"), "{}", price(&order));
        assert!(consequence(&order, By::Onchain, 1_200, None).contains("1200 sat go to 02ab"));
        let text = list(&json!({ "orders": [order] }));
        let parts = ["500,000 sat", "the channel is opened", "1,200 sat", "aa:0"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
        // One of which nobody knows whether it was paid is not called paying.
        let standing = |operation: Value, state: &str| {
            standing_of(&json!({ "state": "paying", "operation": operation, "operation_state": state }))
        };
        let told = [standing(json!(7), "unclear"), standing(Value::Null, ""), standing(json!(7), "sent")];
        assert_eq!(told, ["perhaps paid", "not paid yet", "being paid"]);
    }
}
