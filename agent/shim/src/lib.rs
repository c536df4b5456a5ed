//! One small process per task.
