//! What happens: one file per happening, each joining the files of `state`.

mod accept; // ACCEPT and DECLINE: offers become launches
mod depart; // a framework goes: away, for good, torn down
mod drain; // an agent gets no new tasks, or loses those it has
mod erase; // destroyed volumes are erased by their agents
mod executor; // executors of frameworks' own hear, say and end
mod feedback; // a named operation is done, and told until its framework knows
mod group; // LAUNCH_GROUP: all tasks of a group start, or none
mod kill; // a task is to end, and is told until it does
mod loss; // pings missed, streams broken, agents gone
mod maintain; // machines are planned to be away, go down, come up; who is asked to leave
mod offer; // a round of allocation; offers made, withdrawn, timed out
mod operator; // weights, policies
mod quota; // what roles may have and what is kept for them
mod reconcile; // what is known of tasks, on demand
mod recover; // a new master: registry in hand, agents still on their way
mod register; // an agent comes, or comes back with its tasks
mod reshape; // resources are reserved and made volumes, and stay so
mod status; // an update goes up, an acknowledgement goes down
mod subscribe; // a framework comes, comes back, fails over
