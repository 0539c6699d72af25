import common from "./de/common.json";
import shell from "./de/shell.json";
import keys from "./de/keys.json";
import workflows from "./de/workflows.json";
import welcome from "./de/welcome.json";
import gallery from "./de/gallery.json";
import find from "./de/find.json";
import viewer from "./de/viewer.json";
import generate from "./de/generate.json";
import inputs from "./de/inputs.json";
import queue from "./de/queue.json";
import compare from "./de/compare.json";
import arena from "./de/arena.json";
import usage from "./de/usage.json";
import settings from "./de/settings.json";

/** All strings of the page, an area a file. */
export default {
  ...common,
  ...shell,
  ...keys,
  ...workflows,
  ...welcome,
  ...gallery,
  ...find,
  ...viewer,
  ...generate,
  ...inputs,
  ...queue,
  ...compare,
  ...arena,
  ...usage,
  ...settings,
};
