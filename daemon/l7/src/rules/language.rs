//! What a regular expression accepts, where that is simple enough to be
//! looked up: a few texts, or all texts with a prefix.

use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Hir, HirKind, Look};

/// Texts that one expression may stand for; more are left to the automaton.
const MAX_TEXTS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Language {
    /// Exactly these.
    Texts(Vec<String>),
    /// Everything that begins so.
    Prefix(String),
    /// Something else: ask the automaton.
    Other,
}

/// The language of `pattern` over texts that are ASCII without control
/// characters, matched whole.
pub fn of(pattern: &str) -> Language {
    let Ok(hir) = regex_syntax::parse(pattern) else {
        return Language::Other;
    };
    let parts = match hir.into_kind() {
        HirKind::Concat(parts) => parts,
        other => vec![from_kind(other)],
    };
    let parts = without_anchors(&parts);
    if parts
        .iter()
        .any(|part| !part.properties().look_set().is_empty())
    {
        return Language::Other;
    }
    if let Some((last, first)) = parts.split_last()
        && is_anything(last)
    {
        return match texts(first) {
            Some(mut texts) if texts.len() == 1 => Language::Prefix(texts.remove(0)),
            _ => Language::Other,
        };
    }
    texts(parts).map_or(Language::Other, Language::Texts)
}

fn from_kind(kind: HirKind) -> Hir {
    match kind {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
        HirKind::Repetition(repetition) => Hir::repetition(repetition),
        HirKind::Capture(capture) => Hir::capture(capture),
        HirKind::Concat(parts) => Hir::concat(parts),
        HirKind::Alternation(parts) => Hir::alternation(parts),
    }
}

/// A whole match begins at the start and ends at the end anyway.
fn without_anchors(mut parts: &[Hir]) -> &[Hir] {
    while let [first, rest @ ..] = parts
        && *first.kind() == HirKind::Look(Look::Start)
    {
        parts = rest;
    }
    while let [rest @ .., last] = parts
        && *last.kind() == HirKind::Look(Look::End)
    {
        parts = rest;
    }
    parts
}

/// `.*`
fn is_anything(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Repetition(repetition) => {
            let dots = [
                Hir::dot(regex_syntax::hir::Dot::AnyCharExceptLF),
                Hir::dot(regex_syntax::hir::Dot::AnyChar),
            ];
            repetition.min == 0 && repetition.max.is_none() && dots.contains(&repetition.sub)
        }
        HirKind::Capture(capture) => is_anything(&capture.sub),
        _ => false,
    }
}

fn texts(parts: &[Hir]) -> Option<Vec<String>> {
    let hir = Hir::concat(parts.to_vec());
    if hir.kind() == &HirKind::Empty {
        return Some(vec![String::new()]);
    }
    let found = Extractor::new().limit_total(MAX_TEXTS).extract(&hir);
    let literals = found.literals().filter(|_| found.is_exact())?;
    let text = |literal: &regex_syntax::hir::literal::Literal| {
        String::from_utf8(literal.as_bytes().to_vec()).ok()
    };
    literals.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_expressions_are_known_and_others_left() {
        let texts = |texts: &[&str]| {
            let mut texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            texts.sort();
            Language::Texts(texts)
        };
        let prefix = |text: &str| Language::Prefix(text.to_owned());
        let rows = [
            ("GET", texts(&["GET"])),
            ("^GET$", texts(&["GET"])),
            ("GET|PUT|POST", texts(&["GET", "PUT", "POST"])),
            ("(GET|HEAD)", texts(&["GET", "HEAD"])),
            ("/a/b", texts(&["/a/b"])),
            (r"/a\.html", texts(&["/a.html"])),
            ("", texts(&[""])),
            ("/public/.*", prefix("/public/")),
            ("^/public/.*$", prefix("/public/")),
            ("/public/(.*)", prefix("/public/")),
            (".*", prefix("")),
            ("/public/?", texts(&["/public", "/public/"])),
            ("/a.html", Language::Other),
            ("/v[0-9]+/.*", Language::Other),
            ("/a$b", Language::Other),
            ("a|b.*", Language::Other),
            ("/x.+", Language::Other),
            ("(", Language::Other),
        ];
        for (pattern, expected) in rows {
            let mut found = of(pattern);
            if let Language::Texts(texts) = &mut found {
                texts.sort();
            }
            assert_eq!(found, expected, "{pattern}");
        }
    }
}
