//! Rule sets, compiled.

use terrace_l7::http::Request;
use terrace_l7::rules::{HttpRule, Policy, RuleError, Scratch, Value, ValueRule};
use terrace_mesh::{RuleSet, SetRule, ValueTest};

use super::heads::HeadSet;

#[derive(Debug)]
pub struct RequestSet {
    all: Policy,
    /// Rules that speak of tunnels: of the field Upgrade, or of CONNECT.
    tunnels: Policy,
    pub(super) heads: HeadSet,
}

impl RequestSet {
    /// # Errors
    /// The expressions are too large together.
    pub fn compile(set: &RuleSet) -> Result<Self, RuleError> {
        let rules: Vec<HttpRule> = set.rules.iter().map(http_rule).collect();
        let tunnels = rules.iter().filter(|rule| names_tunnels(rule)).cloned();
        let tunnels: Vec<HttpRule> = tunnels.collect();
        let all = Policy::compile(&rules)?;
        Ok(Self {
            heads: HeadSet::of_policy(all.head_rules()),
            all,
            tunnels: Policy::compile(&tunnels)?,
        })
    }

    /// The rule that allows a request, as in [`super::Note::rule`].
    pub fn allows(
        &self,
        request: &Request<'_, '_>,
        wants_tunnel: bool,
        scratch: &mut Scratch,
    ) -> Option<u32> {
        let policy = if wants_tunnel {
            &self.tunnels
        } else {
            &self.all
        };
        policy.allows(request, scratch)
    }
}

fn names_tunnels(rule: &HttpRule) -> bool {
    let mut fields = rule.headers.iter();
    fields.any(|field| field.name.eq_ignore_ascii_case("upgrade"))
        || rule
            .method
            .as_ref()
            .is_some_and(|method| method.contains("CONNECT"))
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
