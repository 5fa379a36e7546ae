//! Compiles the .proto files without protoc.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let files = protox::compile(["nsfl/transport/v1/transport.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .bytes(".")
        .boxed(".nsfl.transport.v1.Frame.body.hello")
        .boxed(".nsfl.transport.v1.Frame.body.welcome")
        .compile_fds(files)?;
    Ok(())
}
