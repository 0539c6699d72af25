import common from "./en/common.json";
import shell from "./en/shell.json";
import keys from "./en/keys.json";
import workflows from "./en/workflows.json";
import welcome from "./en/welcome.json";
import gallery from "./en/gallery.json";
import find from "./en/find.json";
import viewer from "./en/viewer.json";
import generate from "./en/generate.json";
import inputs from "./en/inputs.json";
import queue from "./en/queue.json";
import compare from "./en/compare.json";
import arena from "./en/arena.json";
import usage from "./en/usage.json";
import settings from "./en/settings.json";

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
