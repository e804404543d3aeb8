//! Rule sets, compiled.

use terrace_l7::http::Request;
use terrace_l7::rules::{HttpRule, Policy, RuleError, Scratch, Value, ValueRule};
use terrace_mesh::{RuleSet, SetRule, ValueTest};

use super::heads::HeadSet;

#[derive(Debug)]
pub struct RequestSet {
    all: Policy,
    /// Rules that speak of the field Upgrade.
    upgrades: Policy,
    /// Rules that may speak of CONNECT.
    connects: Policy,
    pub(super) heads: HeadSet,
}

impl RequestSet {
    /// # Errors
    /// The expressions are too large together.
    pub fn compile(set: &RuleSet) -> Result<Self, RuleError> {
        let rules: Vec<HttpRule> = set.rules.iter().map(http_rule).collect();
        let those = |is: fn(&HttpRule) -> bool| {
            let those: Vec<_> = rules.iter().filter(|rule| is(rule)).cloned().collect();
            Policy::compile(&those)
        };
        let all = Policy::compile(&rules)?;
        Ok(Self {
            heads: HeadSet::of_policy(all.head_rules()),
            all,
            upgrades: those(names_upgrade)?,
            connects: those(|rule| names_upgrade(rule) || names_connect(rule))?,
        })
    }

    /// The rule that allows a request, as in [`super::Note::rule`]. A tunnel
    /// needs one that speaks of the kind that is asked for.
    pub fn allows(
        &self,
        request: &Request<'_, '_>,
        wants_tunnel: bool,
        scratch: &mut Scratch,
    ) -> Option<u32> {
        let policy = match (wants_tunnel, request.method) {
            (false, _) => &self.all,
            (true, "CONNECT") => &self.connects,
            (true, _) => &self.upgrades,
        };
        policy.allows(request, scratch)
    }
}

fn names_upgrade(rule: &HttpRule) -> bool {
    let mut fields = rule.headers.iter();
    fields.any(|field| field.name.eq_ignore_ascii_case("upgrade"))
}

fn names_connect(rule: &HttpRule) -> bool {
    let method = rule.method.as_deref().unwrap_or_default();
    method.contains("CONNECT")
}

pub fn value_rule(rule: &terrace_mesh::ValueRule) -> ValueRule {
    ValueRule {
        name: rule.name.clone(),
        value: match &rule.test {
            ValueTest::Present => Value::Present,
            ValueTest::Exact(text) => Value::Exact(text.clone()),
            ValueTest::Regex(pattern) => Value::Regex(pattern.clone()),
        },
    }
}

fn http_rule(set: &SetRule) -> HttpRule {
    let rule = &set.rule;
    HttpRule {
        method: rule.method.clone(),
        path: rule.path.clone(),
        host: rule.host.clone(),
        headers: rule.headers.iter().map(value_rule).collect(),
        id: set.number << 8 | set.index.min(255),
    }
}
