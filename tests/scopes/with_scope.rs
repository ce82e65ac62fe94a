use callreel::access::{Event, Scope};
use callreel::catalog::{CallQuery, Catalog};

async fn ask(catalog: &Catalog, scope: &Scope) {
    let _ = catalog.calls(scope, &CallQuery::default()).await;
}

async fn change(catalog: &Catalog, event: Event) {
    let change = catalog.change().await.unwrap();
    let _ = change.commit(event).await;
}

fn main() {}
