use callreel::catalog::Catalog;

async fn change(catalog: &Catalog) {
    let change = catalog.change().await.unwrap();
    let _ = change.commit().await; //~ E0061
}

fn main() {}
