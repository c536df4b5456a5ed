//! The sync against a real HAProxy: a service framework made for the test tells the list, small servers are the tasks.
//! Every port is free when chosen, every process is gone when its test ends.

mod fixture; // the service framework, the tasks, the sync, requests
mod instances; // what comes and goes without a reload
mod processes; // who dies, who comes back
mod rendering; // the file
mod services; // what is a reload
