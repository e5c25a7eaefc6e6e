package main

import (
	"os"
	"runtime/debug"

	"github.com/lbshipd/lbshipd/config"
)

// boundMemory makes the collector work harder as memory nears what the
// configuration allows, instead of letting garbage double it. GOMEMLIMIT wins;
// without a configuration nothing changes.
func boundMemory(c *config.Config) {
	if c == nil || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	queues := int64(0)
	for i := range c.Targets {
		if c.Targets[i].IsEnabled() {
			queues += int64(c.Targets[i].QueueBytes)
		}
	}
	debug.SetMemoryLimit(baseMemory + queues + queues/2)
}
