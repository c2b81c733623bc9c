//! From a formula's text to CEL's syntax tree, without trusting the parser with deep nesting.

use cel::common::ast::{IdedExpr, SourceInfo};
use cel::parser::{ParseError, Parser};

use super::FormulaFault;

/// Most bytes of a formula's text.
pub(super) const MOST_BYTES: usize = 1_024;

/// Most opening brackets, and most `?`: the parser's stack grows with how deep they nest. Those in
/// strings count too, so that the count needs no knowledge of strings.
const MOST_OPENINGS: usize = 48;
const MOST_CONDITIONS: usize = 24;

/// Most signs of any kind that stand for an operation, such as `+`, `.` or `!`.
const MOST_SIGNS: usize = 256;

/// Parses `text`.
pub(super) fn parse(text: &str) -> Result<(IdedExpr, SourceInfo), FormulaFault> {
    guard(text)?;
    // Identifiers in backticks and optional fields stay off, as the parser has them by default.
    Parser::new().parse_with_source_info(text).map_err(|faults| {
        let first = faults.errors.iter().min_by_key(|fault| fault.pos);
        first.map_or_else(|| fault("it cannot be read", "look for a missing bracket"), |f| readable(text, f))
    })
}

/// Refuses what the parser might need too much stack or time for.
fn guard(text: &str) -> Result<(), FormulaFault> {
    if text.is_empty() {
        return Err(fault(
            "the formula is empty",
            "write an expression, such as `1000 + request.size_bytes`",
        ));
    }
    if text.len() > MOST_BYTES {
        let message = format!("the formula has {} bytes", text.len());
        return Err(fault(&message, &format!("use at most {MOST_BYTES}")));
    }
    if let Some(odd) = text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r' | '\t')) {
        return Err(fault(&format!("the formula has the control character {odd:?}"), "leave it out"));
    }
    let count = |which: fn(char) -> bool| text.chars().filter(|c| which(*c)).count();
    let limits = [
        (count(|c| matches!(c, '(' | '[' | '{')), MOST_OPENINGS, "opening brackets"),
        (count(|c| c == '?'), MOST_CONDITIONS, "conditions"),
        (count(|c| c.is_ascii_punctuation() && !matches!(c, '_' | '"' | '\'')), MOST_SIGNS, "signs"),
    ];
    for (counted, most, what) in limits {
        if counted > most {
            let message = format!("the formula has {counted} {what}");
            return Err(fault(
                &message,
                &format!("use at most {most}, or let the service set a header to price by"),
            ));
        }
    }
    Ok(())
}

fn fault(message: &str, help: &str) -> FormulaFault {
    FormulaFault { message: message.to_owned(), help: help.to_owned(), column: None }
}

/// The parser's complaint without its list of every token there is.
fn readable(text: &str, error: &ParseError) -> FormulaFault {
    let message = error.msg.strip_prefix("Syntax error: ").unwrap_or(&error.msg);
    let message = message.split(" expecting ").next().unwrap_or(message);
    let message: String = message.replace("<EOF>", "the end").chars().take(160).collect();
    let (line, column) = error.pos;
    let whole = |number: isize| usize::try_from(number).ok().filter(|number| *number > 0);
    let before = |line: usize| text.split_inclusive('\n').take(line - 1).map(|line| line.chars().count());
    FormulaFault {
        message: format!("the formula is not CEL: {message}"),
        help: "write an expression such as `1000 + request.size_bytes / 1024 * 10`; `tollhouse price --help` says \
               what formulas may say"
            .to_owned(),
        column: whole(line).zip(whole(column)).map(|(line, column)| before(line).sum::<usize>() + column),
    }
}
