//! One field of a cursor key: a sort column of the list.

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
    /// The name in SQL.
    name: String,
    /// The tokens that contain the name, for messages.
    name_tokens: TokenStream,
    descending: bool,
    /// The word `unique`, if the column is unique.
    unique: Option<Ident>,
}

impl<'a> Column<'a> {
    /// Parses a field with a name.
    pub(crate) fn parse(field: &'a Field, sink: &Sink<'_>) -> Self {
        let name = field
            .ident
            .as_ref()
            .expect("a field of a struct that names its fields");
        let mut column = Self {
            field: name,
            ty: &field.ty,
            name: name.unraw().to_string(),
            name_tokens: name.to_token_stream(),
            descending: false,
            unique: None,
        };
        let items = attribute_items(&field.attrs, "cursor", EXAMPLE, sink).unwrap_or_default();
        let options = Options {
            of: "cursor",
            keys: OPTIONS,
        };
        for (name, option) in options.read(&items, sink) {
            column.parse_option(name, option, sink);
        }
        column
    }

    fn parse_option(&mut self, name: &str, option: &Argument, sink: &Sink<'_>) {
        match name {
            "desc" => self.descending = option.flag(sink),
            "unique" => self.unique = option.flag(sink).then(|| option.key.clone()),
            "column" => self.parse_name(option, sink),
            other => unread_option("cursor", other),
        }
    }

    fn parse_name(&mut self, option: &Argument, sink: &Sink<'_>) {
        let Some((text, value)) = option.text(COLUMN, sink) else {
            return;
        };
        if is_column(&text) {
            self.name = text;
            self.name_tokens = value.tokens.clone();
            return;
        }
        sink.report(
            &value.tokens,
            format!(
                "\"{text}\" is not a column: write a name such as `{COLUMN}`; for an expression, use a generated \
                 column or a view"
            ),
        );
    }

    /// Reports the column if an earlier column has the same name.
    pub(crate) fn check_not_repeated(&self, earlier: &[Self], sink: &Sink<'_>) {
        if let Some(other) = earlier.iter().find(|other| other.name == self.name) {
            let (field, name) = (other.field, &self.name);
            sink.report(
                &self.name_tokens,
                format!("`{field}` already sorts by `{name}`: remove one of the fields"),
            );
        }
    }

    /// Reports a unique column before the last column, because the columns after it have no effect
    /// on the order.
    pub(crate) fn check_not_unique(&self, last: &Self, sink: &Sink<'_>) {
        let Some(unique) = &self.unique else { return };
        let (field, last) = (self.field, last.field);
        sink.report(
            unique,
            format!(
                "the unique column `{field}` must be the last, since columns after it have no effect: move it after \
                 `{last}`, or remove the columns after it"
            ),
        );
    }

    /// Reports the last column if it is not unique, because rows with equal values in all columns
    /// would have no order.
    pub(crate) fn check_unique(&self, sink: &Sink<'_>) {
        let field = self.field;
        if self.unique.is_none() {
            sink.report(
                field,
                format!(
                    "the last column `{field}` must be unique, or pages could lose or repeat rows: mark it \
                     `#[cursor(unique)]`, or add a unique column after it"
                ),
            );
        }
    }

    /// Generates the runtime's specification of the column.
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

/// Returns true for a name that needs no quotes in SQL. It can consist of several names with dots
/// between them.
fn is_column(text: &str) -> bool {
    let first = |letter: char| letter.is_ascii_alphabetic() || letter == '_';
    let other = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    text.split('.')
        .all(|name| name.starts_with(first) && name.chars().all(other))
        && text.len() <= MAX_LENGTH
}

/// The maximum length of a name in bytes. It has room for a schema, a table and a column of 63
/// bytes each, which is the maximum in `PostgreSQL`.
const MAX_LENGTH: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_need_no_quotes_in_sql_are_columns() {
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
