// The host's side of world.wit, as the generated bindings give it.

import hostLog from "log";

export const log = (level, message) => hostLog(level, message);
