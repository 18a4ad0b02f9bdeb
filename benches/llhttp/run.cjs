// Loads the library that compares (lib.rs beside this file) into a Node, whose llhttp it uses:
// node benches/llhttp/run.cjs target/release/examples/libllhttp.so
console.log(`node ${process.versions.node}, llhttp ${process.versions.llhttp}`);
process.dlopen({ exports: {} }, require('path').resolve(process.argv[2]));
