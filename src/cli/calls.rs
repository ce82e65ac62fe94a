#[derive(Debug, clap::Args)]
pub struct Args {}
pub fn run(_args: Args) -> anyhow::Result<super::Exit> {
    anyhow::bail!("not built yet")
}
