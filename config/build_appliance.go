//go:build appliance

package config

// NoFileSource says why this build cannot read files; empty, it can.
const NoFileSource = "this build (appliance) has no file source, only journald"
