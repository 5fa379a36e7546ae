//! Compiles the one C++ file, with the headers of the libtorch that torch-sys was built with.

fn main() {
    println!("cargo:rerun-if-changed=src/buffers.cpp");
    #[cfg(feature = "torch")]
    buffers();
}

#[cfg(feature = "torch")]
fn buffers() {
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch is");
    let include = std::path::Path::new(&lib).parent().expect("a folder of libtorch").join("include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .file("src/buffers.cpp")
        .compile("nsfl_buffers");
}
