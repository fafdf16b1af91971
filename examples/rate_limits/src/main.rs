//! Writes the plot of the rate limit algorithms to standard output, as SVG.

mod plot;
mod run;

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", plot::draw(&run::all_lines().await?)?);
    Ok(())
}
