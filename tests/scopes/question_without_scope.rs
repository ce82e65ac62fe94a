use callreel::catalog::{AuditQuery, CallQuery, Catalog, Listing};

async fn ask(catalog: &Catalog) {
    let _ = catalog.calls(&CallQuery::default()).await; //~ E0061
    let _ = catalog.groups(&Listing::default()).await; //~ E0061
    let _ = catalog.audit_page(&AuditQuery::default()).await; //~ E0061
}

fn main() {}
