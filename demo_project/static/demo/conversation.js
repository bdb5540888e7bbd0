// The second page: an upload, and a status that the server sends when it has changed.

import { Status } from "./status.js";
import { Upload } from "./upload.js";

new Upload();
new Status();
