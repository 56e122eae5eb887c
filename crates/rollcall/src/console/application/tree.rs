//! The tree of units in which a scope is chosen: nested lists, of which each part is open or closed.

use std::collections::{BTreeSet, HashMap};

use askama::Template;
use rollcall_db::{DbError, Tx};

use crate::console::locale::Html;
use crate::console::page::Page;
use crate::directory::{Unit, extent, query};
use crate::id::ROOT_UNIT;

/// How many units are shown.
const SHOWN: usize = 1_000;

/// The part of the tree that is open.
pub(super) struct Tree {
    root: Option<Unit>,
    below: HashMap<String, Vec<Unit>>,
    open: BTreeSet<String>,
    /// Units that have others below them.
    parents: BTreeSet<String>,
    chosen: BTreeSet<String>,
    /// Whether there is more than is shown.
    pub(super) is_cut: bool,
}

impl Tree {
    /// Reads it. The root is always open.
    pub(super) fn load(
        tx: &mut Tx<'_>,
        mut open: BTreeSet<String>,
        chosen: &BTreeSet<String>,
    ) -> Result<Self, DbError> {
        open.insert(ROOT_UNIT.to_owned());
        let ids: Vec<String> = open.iter().cloned().collect();
        let (below, is_cut) = extent::below(tx, &ids, SHOWN)?;
        let shown: Vec<String> = below.values().flatten().map(|unit| unit.id.clone()).collect();
        let root = query::find_unit(tx, &format!("id:{ROOT_UNIT}"));
        Ok(Self {
            root: root.map_err(|error| DbError::Other(error.to_string()))?,
            parents: extent::parents(tx, &shown)?,
            below,
            open,
            chosen: chosen.clone(),
            is_cut,
        })
    }

    /// Whether a unit stands in a part that is open, with all above it.
    fn visible(&self) -> BTreeSet<&str> {
        let mut visible = BTreeSet::from([ROOT_UNIT]);
        let mut next = vec![ROOT_UNIT];
        while let Some(id) = next.pop() {
            for unit in self.below.get(id).into_iter().flatten() {
                visible.insert(&unit.id);
                next.push(&unit.id);
            }
        }
        visible
    }

    /// Those of some units that are not shown.
    pub(super) fn hidden(&self, ids: &BTreeSet<String>) -> Vec<String> {
        let visible = self.visible();
        let hidden = ids.iter().filter(|id| !visible.contains(id.as_str()));
        hidden.cloned().collect()
    }

    /// As nested lists.
    pub(super) fn lists(&self, page: &Page) -> Html {
        let mut text = String::new();
        if let Some(root) = &self.root {
            text.push_str("<ul>");
            self.grow(&mut text, root, false, page);
            text.push_str("</ul>");
        }
        Html::new(text)
    }

    fn grow(&self, text: &mut String, unit: &Unit, is_within: bool, page: &Page) {
        let is_root = unit.id == ROOT_UNIT;
        let is_open = self.open.contains(&unit.id);
        let is_chosen = self.chosen.contains(&unit.id);
        let leaf = Leaf {
            page,
            unit,
            is_chosen,
            is_within,
            is_open,
            can_turn: !is_root && self.parents.contains(&unit.id),
        };
        text.push_str("<li>");
        // A string takes all that is written to it.
        drop(leaf.render_into(text));
        if let Some(below) = self.below.get(&unit.id).filter(|_| is_open) {
            text.push_str("<ul>");
            for unit in below {
                self.grow(text, unit, is_within || is_chosen, page);
            }
            text.push_str("</ul>");
        }
        text.push_str("</li>");
    }
}

#[derive(Template)]
#[template(
    source = r#"<div class="branch">
{%- if can_turn -%}
<button class="turn" name="do" value="{% if is_open %}close{% else %}open{% endif %} {{ unit.id }}" aria-expanded="{{ is_open }}">{% if is_open %}{{ page.icon("opened") }}{% else %}{{ page.icon("closed") }}{% endif %}<span class="unseen">{{ page.t1("tree-below", "name", unit.name.as_str()) }}</span></button>
{%- else -%}<span class="turn"></span>{%- endif -%}
<label class="tick"><input type="checkbox" name="unit" value="{{ unit.id }}"{% if is_chosen %} checked{% endif %}><span>{{ unit.name }}{% if is_within %} <span class="soft small">{{ page.t("tree-covered") }}</span>{% endif %}</span></label></div>"#,
    ext = "html"
)]
struct Leaf<'a> {
    page: &'a Page,
    unit: &'a Unit,
    is_chosen: bool,
    /// Whether a unit above it is ticked.
    is_within: bool,
    is_open: bool,
    can_turn: bool,
}
