mod spec;
pub use spec::VersionSpec;
