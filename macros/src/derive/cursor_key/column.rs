//! One field of a key: a column that the list is sorted by.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::{Field, Ident, Type};

use crate::derive::attribute_items;
use crate::errors::Sink;
use crate::grammar::unread_option;
use crate::parse::{Argument, Options};

/// The options of `#[cursor(…)]`.
pub(super) const OPTIONS: &[&str] = &["desc", "unique", "column"];
const EXAMPLE: &str = "#[cursor(desc)]";
const COLUMN: &str = "column = \"payments.id\"";

/// A sort column.
pub(crate) struct Column<'a> {
    pub(crate) field: &'a Ident,
    pub(crate) ty: &'a Type,
    /// Its name in SQL.
    name: String,
    /// Where its name was said.
    place: TokenStream,
    descending: bool,
    /// Where it was said that it is.
    unique: Option<Ident>,
}

impl<'a> Column<'a> {
    pub(crate) fn parse(field: &'a Field, sink: &Sink<'_>) -> Self {
        let name = field
            .ident
            .as_ref()
            .expect("a field of a struct that names its fields");
        let mut column = Self {
            field: name,
            ty: &field.ty,
            name: name.unraw().to_string(),
            place: name.to_token_stream(),
            descending: false,
            unique: None,
        };
        let items = attribute_items(&field.attrs, "cursor", EXAMPLE, sink).unwrap_or_default();
        let options = Options {
            of: "cursor",
            keys: OPTIONS,
        };
        for (name, option) in options.read(&items, sink) {
            column.take(name, option, sink);
        }
        column
    }

    fn take(&mut self, name: &str, option: &Argument, sink: &Sink<'_>) {
        match name {
            "desc" => self.descending = option.flag(sink),
            "unique" => self.unique = option.flag(sink).then(|| option.key.clone()),
            "column" => self.named(option, sink),
            other => unread_option("cursor", other),
        }
    }

    fn named(&mut self, option: &Argument, sink: &Sink<'_>) {
        let Some((text, value)) = option.text(COLUMN, sink) else {
            return;
        };
        if is_column(&text) {
            self.name = text;
            self.place = value.tokens.clone();
            return;
        }
        sink.report(
            &value.tokens,
            format!(
                "a column is letters, digits and _, and may have its table in front: write one such as `{COLUMN}`, \
                 and for anything else a generated column or a view"
            ),
        );
    }

    /// No column before has its name.
    pub(crate) fn check_new(&self, before: &[Self], sink: &Sink<'_>) {
        if let Some(other) = before.iter().find(|other| other.name == self.name) {
            let (field, name) = (other.field, &self.name);
            sink.report(
                &self.place,
                format!("`{field}` sorts by `{name}` already: remove one of the two fields"),
            );
        }
    }

    /// What stands behind a unique column never decides.
    pub(crate) fn check_not_unique(&self, last: &Self, sink: &Sink<'_>) {
        let Some(unique) = &self.unique else { return };
        let (field, last) = (self.field, last.field);
        sink.report(
            unique,
            format!(
                "no two rows have the same `{field}`, so that nothing behind it decides: move it behind `{last}`, \
                 or remove what follows"
            ),
        );
    }

    /// Rows that are alike in all columns would be in no order.
    pub(crate) fn check_unique(&self, sink: &Sink<'_>) {
        let field = self.field;
        if self.unique.is_none() {
            sink.report(
                field,
                format!(
                    "rows of the same `{field}` would be in no order, and a page could lose or repeat them: mark the \
                     last column `#[cursor(unique)]`, or add one that is"
                ),
            );
        }
    }

    /// The constant that describes it.
    pub(crate) fn spec(&self) -> TokenStream {
        let (name, direction) = (
            &self.name,
            if self.descending {
                quote!(Descending)
            } else {
                quote!(Ascending)
            },
        );
        quote! {
            __aplomb::policies::paginate::SortColumn::new(#name, __aplomb::policies::paginate::Direction::#direction)
        }
    }
}

/// Names that need no quotes, joined by dots.
fn is_column(text: &str) -> bool {
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let other = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split('.')
        .all(|name| name.starts_with(first) && name.chars().all(other))
        && text.len() <= LONGEST
}

const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_columns_need_no_quotes() {
        for column in ["id", "_id2", "payments.created_at", "main.payments.ID"] {
            assert!(is_column(column), "{column}");
        }
        for wrong in [
            "",
            ".",
            "a.",
            ".a",
            "2a",
            "a b",
            "a;b",
            "a--",
            "\"a\"",
            "lower(a)",
            "é",
            "a\n",
            &"a".repeat(201),
        ] {
            assert!(!is_column(wrong), "{wrong}");
        }
    }
}
