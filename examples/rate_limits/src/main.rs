//! Writes the plot to standard output.

mod plot;
mod run;

use std::error::Error;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", plot::draw(&run::all().await?)?);
    Ok(())
}
